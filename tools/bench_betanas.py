"""Savings by dropped choices: a step of BetaNAS' importances with all choices, with half of them, and with one per layer.

    python tools/bench_betanas.py
    python tools/bench_betanas.py --space s2 --pixels 96

An importance step runs every choice that remains forward, and one path backward; a weight step runs one path. All steps
are of the same path, the first choice of each layer, on one batch; they take turns, and a ratio is the median of the rounds'.
Memory is measured in a process that runs one variant only, as the growth of the peak resident set by three steps.
Prints one JSON object.
"""

from __future__ import annotations

import functools
import os
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from measuring import ROUNDS, alternate, growth, in_child, parse, report, round_ratios, timed
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.betanas.training import Gates
from scarlet_tf.evaluation.graphs import quick_to_first_step
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.optimizers import Loss, MomentumSGD

NUM_CLASSES = 1000
WEIGHTS = "weights"


def main() -> None:
    """Time all variants in one process, measure the memory of each in its own."""
    spaces = {"default": "s1", "choices": ["s1", "s2"]}
    arguments = parse(__doc__, space=spaces, pixels=64, batch_size=32, threads=1, rounds=(7, ROUNDS))
    count = SearchSpace.from_name(arguments.space).num_choices
    variants = {"all": count, "half": (count + 1) // 2, "one": 1, WEIGHTS: 0}  # choices that remain in a layer
    with progress_bar("betanas", 1 + len(variants)) as bar:
        parts = {}
        for part in ("times", *variants):
            parts[part] = in_child(run_part, part, variants, arguments, threads=arguments.threads)
            bar.advance()
    times = parts["times"]
    rows = [
        {
            "step": "weights" if name == WEIGHTS else "importances",
            "remaining_choices": remaining or 1,
            "seconds": statistics.median(times[name]),
            "ratio": round_ratios(times[name], times["all"])[0],
            "peak_bytes": parts[name],
            "peak_memory_ratio": parts[name] / parts["all"],
        }
        for name, remaining in variants.items()
    ]
    settings = {key: value for key, value in vars(arguments).items() if key != "rounds"}
    report("betanas", **settings, results=rows)


def run_part(part: str, variants: dict[str, int], arguments):
    """Seconds of all variants, or the peak memory of one."""
    shape = (arguments.pixels, arguments.pixels, 3)
    supernet = Supernet(SearchSpace.from_name(arguments.space), shape, NUM_CLASSES)
    with quick_to_first_step():  # as in training
        steps = {name: step_of(supernet, remaining, arguments.batch_size) for name, remaining in variants.items()}
        if part != "times":
            return growth(steps[part])
        for step in steps.values():
            step()
        return alternate({name: functools.partial(timed, step) for name, step in steps.items()}, arguments.rounds)


def step_of(supernet: Supernet, remaining: int, batch_size: int):
    """A step with the first `remaining` choices of each layer; with 0, a weight step."""
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch_size, *supernet.image_shape)).astype(np.float32))
    labels = tf.constant(rng.integers(NUM_CLASSES, size=batch_size).astype(np.int32))
    space, loss = supernet.space, Loss(NUM_CLASSES, batch_size)
    path = np.zeros(space.num_layers, np.int32)
    if remaining == 0:
        optimizer = MomentumSGD(learning_rate=1e-3, momentum=0.9)
        optimizer.build(supernet.trainable_variables)
        step = SupernetStep(supernet, optimizer, loss)
        return lambda: float(step(images, labels, path[None])["loss"])
    gates = Gates(supernet, loss)
    choices = np.tile(np.arange(space.num_choices) < remaining, (space.num_layers, 1))
    return lambda: gates(images, labels, path, choices)[2].numpy()


if __name__ == "__main__":
    main()
