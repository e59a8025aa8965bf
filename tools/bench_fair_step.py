"""One strict-fair step against the sum of the m stand-alone networks' training steps.

    python tools/bench_fair_step.py
    python tools/bench_fair_step.py --spaces s1 s2 --pixels 64 96 --threads 1 2

For each space, size and number of threads, one process holds the m networks of one set of fair paths (LETs in place, as in
the supernet) twice, the supernet under `sequential` and under `lanes`; their steps alternate. Ratios are medians over the
rounds; `rounds_ratio_*` has all of them.

`ratio`, also called `ratio_over_keras`, is the fair step over the sum of the networks as Keras trains them: Keras' layers
and SGD, TensorFlow's usual graph optimisation. `ratio_over_own` is over the same networks with this package's layers and
optimizer, as `retrain` uses them, so that nothing but the fair step itself differs.

Memory is measured in a process that runs one variant only, as the growth of the peak resident set by three steps:
`peak_memory_ratio` is over that of the most expensive single network, `variable_bytes` (weights and momentum, which exist
before the first step) are apart from it. `first_step_seconds` is tracing, graph optimisation and the first run, in this
process. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.cost import count_spec
from scarlet_tf.models.network import Network
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.progress import progress_bar
from scarlet_tf.space import Architecture, SearchSpace
from scarlet_tf.training.fair_step import EXECUTIONS, SupernetStep
from scarlet_tf.training.graph_options import quick_to_first_step
from scarlet_tf.training.losses import Loss
from scarlet_tf.training.optimizers import MomentumSGD
from scarlet_tf.training.sampling import strict_fair_paths

NUM_CLASSES = 1000


def main() -> None:
    """Parses; measures each combination in a process of its own, since threads are fixed once; prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", default=["s1"], choices=["s1", "s2"])
    parser.add_argument("--pixels", nargs="+", type=int, default=[64])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="alternating measurements of which the median counts")
    parser.add_argument("--part", choices=["times", "single", *EXECUTIONS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(run_part(arguments)))
        return
    cases = [(s, p, t) for s in arguments.spaces for p in arguments.pixels for t in arguments.threads]
    results = []
    with progress_bar("fair step", len(cases) * (2 + len(EXECUTIONS))) as bar:
        for case in cases:
            results += measure(case, arguments, bar)
    print(json.dumps({"benchmark": "fair_step", "batch_size": arguments.batch_size, "results": results}))


def measure(case, arguments, bar) -> list[dict]:
    """One row an execution."""
    parts = {}
    for part in ("times", "single", *EXECUTIONS):
        parts[part] = in_own_process(part, case, arguments)
        bar.advance()
    space, pixels, threads = case
    times = parts["times"]
    return [
        {
            "space": space,
            "pixels": pixels,
            "threads": threads,
            "execution": execution,
            **ratios(times, execution),
            "seconds": statistics.median(times[execution]["seconds"]),
            "own_seconds": statistics.median(times["own"]["seconds"]),
            "keras_seconds": statistics.median(times["keras"]["seconds"]),
            "peak_memory_ratio": parts[execution]["peak_bytes"] / parts["single"]["peak_bytes"],
            "peak_bytes": parts[execution]["peak_bytes"],
            "single_peak_bytes": parts["single"]["peak_bytes"],
            "variable_bytes": parts[execution]["variable_bytes"],
            "single_variable_bytes": parts["single"]["variable_bytes"],
            "first_step_seconds": times[execution]["first"],
            "own_first_seconds": times["own"]["first"],
            "keras_first_seconds": times["keras"]["first"],
        }
        for execution in EXECUTIONS
    ]


def ratios(times: dict, execution: str) -> dict:
    """Medians over the rounds of the fair step's time over the networks' in the same round, and all of them."""
    found: dict = {}
    for name in ("own", "keras"):
        pairs = zip(times[execution]["seconds"], times[name]["seconds"], strict=True)
        rounds = [fair / alone for fair, alone in pairs]
        found |= {f"ratio_over_{name}": statistics.median(rounds), f"rounds_ratio_over_{name}": rounds}
    return {"ratio": found["ratio_over_keras"], **found}


def in_own_process(part: str, case, arguments) -> dict:
    """Runs this file for one part of one case and reads the JSON it prints."""
    space, pixels, threads = map(str, case)
    sizes = ["--batch-size", str(arguments.batch_size), "--rounds", str(arguments.rounds)]
    options = ["--spaces", space, "--pixels", pixels, "--threads", threads, *sizes]
    command = [sys.executable, __file__, "--part", part, *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


# -- inside a process of its own -----------------------------------------------------------------------------------


def run_part(arguments) -> dict:
    """Times of all variants, or the peak memory of one."""
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads[0])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    bench = Bench(SearchSpace.from_name(arguments.spaces[0]), arguments.pixels[0], arguments.batch_size)
    if arguments.part == "times":
        return bench.times(arguments.rounds)
    with quick_to_first_step():  # as in training
        if arguments.part == "single":
            return bench.peak(bench.largest_network_step)
        return bench.peak(lambda: bench.supernet_step(arguments.part))


class Bench:
    """Makes steps on one fixed batch and one fixed set of fair paths."""

    def __init__(self, space: SearchSpace, pixels: int, batch_size: int):
        rng = np.random.default_rng(0)
        self.space, self.shape, self.batch_size = space, (pixels, pixels, 3), batch_size
        self.images = tf.constant(rng.normal(size=(batch_size, *self.shape)), tf.float32)
        self.labels = tf.constant(rng.integers(NUM_CLASSES, size=batch_size), tf.int32)
        self.paths = strict_fair_paths(space, 0, 0)
        self.loss = Loss(NUM_CLASSES, batch_size)

    def times(self, rounds: int) -> dict:
        """Seconds of the first step and of `rounds` alternating ones, for each variant."""
        variants: dict[str, Callable] = {name: functools.partial(self.supernet_step, name) for name in EXECUTIONS}
        variants["own"] = self.stand_alone_steps
        variants["keras"] = functools.partial(self.stand_alone_steps, plain_keras=True)
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        first, steps = {}, {}
        for name, make in variants.items():
            with contextlib.nullcontext() if name == "keras" else quick_to_first_step():
                steps[name] = make()
                first[name] = timed(steps[name])
            timed(steps[name])
        for _ in range(rounds):
            for name, step in steps.items():
                seconds[name].append(timed(step))
        return {name: {"first": first[name], "seconds": seconds[name]} for name in variants}

    def peak(self, make) -> dict:
        """Growth of the peak resident set by three steps, tracing included, over what the variables take."""
        self.warm_up()
        started = peak_bytes()
        step = make()
        before = peak_bytes()
        for _ in range(3):
            step()
        return {"peak_bytes": peak_bytes() - before, "variable_bytes": before - started}

    def warm_up(self) -> None:
        """Whatever the first TensorFlow step allocates once does not count."""
        tf.function(lambda x: tf.nn.conv2d(x, tf.ones([3, 3, 3, 8]), 1, "SAME"))(self.images)

    def supernet_step(self, execution: str):
        supernet = Supernet(self.space, self.shape, NUM_CLASSES)
        optimizer = sgd(supernet)
        step = SupernetStep(supernet, optimizer, self.loss, execution)
        step = tf.function(step, autograph=False) if step.compiled else step
        return lambda: step(self.images, self.labels, self.paths)["loss"]

    def stand_alone_steps(self, plain_keras: bool = False):
        steps = [self.network_step(spec, plain_keras) for spec in self.specs()]
        return lambda: [step() for step in steps][-1]

    def largest_network_step(self):
        return self.network_step(max(self.specs(), key=lambda spec: count_spec(spec).multiply_adds))

    def specs(self):
        paths = (Architecture(tuple(path), self.space) for path in self.paths)
        return [path.lower(self.shape, NUM_CLASSES, skip="let") for path in paths]

    def network_step(self, spec, plain_keras: bool = False):
        network = as_keras_has_it(Network(spec)) if plain_keras else Network(spec)
        optimizer = sgd(network, keras.optimizers.SGD if plain_keras else MomentumSGD)

        @tf.function(autograph=False)
        def step(images, labels):
            with tf.GradientTape() as tape:
                loss, _ = self.loss(labels, network(images, training=True))
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
            return loss

        return lambda: step(self.images, self.labels)


def as_keras_has_it(network: keras.Model) -> keras.Model:
    """The network with Keras' layer in place of each that this package derives from one."""

    def plain(layer):
        kind: Any = next((cls for cls in type(layer).__mro__ if cls.__module__.startswith("keras.")), type(layer))
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(keras.Model(network.inputs, network.outputs), clone_function=plain)


def sgd(model, kind=MomentumSGD):
    """The supernet's optimizer, built."""
    optimizer = kind(learning_rate=0.001, momentum=0.9)
    optimizer.build(model.trainable_variables)
    return optimizer


def timed(step) -> float:
    """Seconds until the step's loss is there."""
    started = time.perf_counter()
    np.asarray(step())
    return time.perf_counter() - started


def peak_bytes() -> int:
    """Peak resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
