"""Savings by dropped choices: a step of BetaNAS' importances with all choices, with half of them, and with one per layer.

    python tools/bench_betanas.py
    python tools/bench_betanas.py --space s2 --pixels 96

An importance step runs every choice that remains forward, and one path backward; a weight step runs one path. All steps
are of the same path, the first choice of each layer, on one batch; they take turns, and a ratio is the median of the rounds'.
Memory is measured in a process that runs one variant only, as the growth of the peak resident set by three steps.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from scarlet_tf.betanas.gates import Gates
from scarlet_tf.evaluation.graphs import quick_to_first_step
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.progress import progress_bar
from scarlet_tf.space import SearchSpace
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.optimizers import Loss, MomentumSGD

NUM_CLASSES = 1000
WEIGHTS = "weights"


def main() -> None:
    """Parse; time all variants in one process, measure the memory of each in its own; print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="s1", choices=["s1", "s2"])
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7, help="alternating measurements of which the median counts")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    variants = variants_of(SearchSpace.from_name(arguments.space).num_choices)
    if arguments.part:
        print(json.dumps(run_part(arguments, variants)))
        return
    parts = {}
    with progress_bar("betanas", 1 + len(variants)) as bar:
        for part in ("times", *variants):
            parts[part] = in_own_process(part, arguments)
            bar.advance()
    settings = {key: value for key, value in vars(arguments).items() if key not in ("part", "rounds")}
    print(json.dumps({"benchmark": "betanas", **settings, "results": rows(parts, variants)}))


def variants_of(num_choices: int) -> dict[str, int]:
    """Number of remaining choices per layer, by name; 0 is the weight step."""
    return {"all": num_choices, "half": (num_choices + 1) // 2, "one": 1, WEIGHTS: 0}


def rows(parts: dict, variants: dict[str, int]) -> list[dict]:
    """One row per variant; ratios are over the importance step with all choices."""
    times, whole = parts["times"], parts["all"]["peak_bytes"]
    return [
        {
            "step": "weights" if name == WEIGHTS else "importances",
            "remaining_choices": remaining or 1,
            "seconds": statistics.median(times[name]),
            "ratio": statistics.median(own / every for own, every in zip(times[name], times["all"], strict=True)),
            "peak_bytes": parts[name]["peak_bytes"],
            "peak_memory_ratio": parts[name]["peak_bytes"] / whole,
        }
        for name, remaining in variants.items()
    ]


def in_own_process(part: str, arguments) -> dict:
    """Run this file for one part and read the JSON it prints."""
    options = [f"--{key.replace('_', '-')}={value}" for key, value in vars(arguments).items() if key != "part"]
    command = [sys.executable, __file__, "--part", part, *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def run_part(arguments, variants: dict[str, int]) -> dict:
    """Seconds of all variants, or the peak memory of one."""
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    space = SearchSpace.from_name(arguments.space)
    supernet = Supernet(space, (arguments.pixels, arguments.pixels, 3), NUM_CLASSES)
    with quick_to_first_step():  # as in training
        steps = {name: step_of(supernet, remaining, arguments.batch_size) for name, remaining in variants.items()}
        if arguments.part != "times":
            return {"peak_bytes": peak(steps[arguments.part])}
        for step in steps.values():
            step()
        return timed(steps, arguments.rounds)


def timed(steps: dict, rounds: int) -> dict[str, list[float]]:
    """{name: seconds in each round}; the steps of a round follow one another."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            found[name].append(time.perf_counter() - began)
    return found


def peak(step) -> int:
    """Bytes by which three steps raise the peak resident set."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        step()
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


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
