"""One strict-fair step against the sum of the m stand-alone networks' training steps, with and without oneDNN.

    python tools/bench_fair_step.py
    python tools/bench_fair_step.py --spaces s1 s2 --pixels 64 96 --threads 1 2
    python tools/bench_fair_step.py --spaces lite0 --freeze-bn
    python tools/bench_fair_step.py --torch --torch-python torchenv/bin/python

For each space, size, number of threads and TF_ENABLE_ONEDNN_OPTS (0 and 1), one process holds the m networks of one set of
fair paths (skips as in the supernet) twice, the supernet under `sequential` and under `lanes`; their steps alternate.
Ratios are medians over the rounds; `rounds_ratio_*` has all of them. Prints one JSON object.

`ratio`, also called `ratio_over_keras`, is the fair step over the sum of the networks as Keras trains them: Keras' layers
and SGD, TensorFlow's usual graph optimisation. `ratio_over_own` is over the same networks with this package's layers and
optimizer, as `retrain` uses them, so that nothing but the fair step itself differs.

`share` is the step's FLOP/s (`gflops`) over those of a product of two float32 matrices, 2048 x 2048 (`matmul_gflops`), which
alternates with it in the same process on the same threads. Two FLOP a multiply-add. A step's multiply-adds are counted as
`fair_multiply_adds` in fair_paths.py says; BN, activations and the optimizer have none, but take time.

`--torch` adds a supernet in PyTorch (`torch_supernet.py`), whose steps, in a child process, alternate with the others:
`ratio_over_torch`, `peak_memory_ratio_over_torch` and `torch_*`. PyTorch has a oneDNN of its own in both modes.

The space `lite0` is that around EfficientNet-Lite0 with whole blocks (`parent.shares: [1.0]`), here with random weights; its
skips are the identity where shapes allow. `--freeze-bn`: batch normalisation works with its own statistics, as in runs from one.

`--cpu` counts processor seconds, which other work on the machine hardly changes.

Memory is measured in a process that runs one variant only, as the growth of the peak resident set by three steps:
`peak_memory_ratio` is over that of the most expensive single network, `variable_bytes` (weights and momentum, which exist
before the first step) are apart from it. Without oneDNN the supernet has TensorFlow's memory pool, as from the command line;
the single network has what TensorFlow gives it, and times are of one process with the pool. `first_step_seconds` is tracing,
graph optimisation and the first run, in this process. Exit code 2: no PyTorch.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from fair_paths import NUM_CLASSES, Skip, fair_multiply_adds, path_specs, skip_of, space_named
from measuring import (
    MODES,
    ROUNDS,
    Partner,
    alternate,
    command_line,
    cpu_timed,
    growth,
    in_child,
    onednn_modes,
    peak_bytes,
    report,
    round_ratios,
    timed,
)
from scarlet_tf.base.host import with_faster
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.evaluation.graphs import quick_to_first_step
from scarlet_tf.models.network import Network, plain_reference
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.fair_step import EXECUTIONS, SupernetStep
from scarlet_tf.training.optimizers import Loss, MomentumSGD
from scarlet_tf.training.sampling import strict_fair_paths

MATRIX = 2048  # rows and columns of the product that represents a core's speed


def main() -> None:
    """Measure each combination in its own processes, since threads and modes are fixed once."""
    parser = command_line(
        __doc__,
        spaces={"nargs": "+", "default": ["s1"], "choices": ["s1", "s2", "lite0"]},
        pixels=[64],
        threads=[1],
        batch_size=32,
        rounds=(5, ROUNDS),
        onednn=MODES,
        executions={"nargs": "+", "default": EXECUTIONS, "choices": EXECUTIONS},
        freeze_bn=(False, "batch normalisation keeps its statistics, not with --torch"),
        cpu=(False, "processor seconds, not with --torch"),
        torch=(False, "measure a supernet in PyTorch, too"),
        torch_python=(sys.executable, "the Python that has PyTorch (default: this one)"),
    )
    arguments = parser.parse_args()
    if arguments.torch and arguments.cpu:
        parser.error("--cpu: expected without --torch, which works in another process")
    if arguments.torch and (arguments.freeze_bn or "lite0" in arguments.spaces):
        parser.error("--torch: expected without --freeze-bn and lite0, which the supernet in PyTorch does not have")
    check = [arguments.torch_python, "-c", "import torch"]
    if arguments.torch and subprocess.run(check, capture_output=True).returncode:
        print(f"bench_fair_step: {arguments.torch_python}: no PyTorch: pip install '.[torch]'", file=sys.stderr)
        sys.exit(2)
    modes = onednn_modes(arguments.onednn)
    cases = list(itertools.product(arguments.spaces, arguments.pixels, arguments.threads, modes))
    parts, results = ("times", "single", *arguments.executions), []
    with progress_bar("fair step", len(cases) * len(parts)) as bar:
        for *case, onednn in cases:
            found = {}
            for part in parts:
                made = {"onednn": onednn, "threads": case[2], "complete": dict if part == "single" else with_faster}
                found[part] = in_child(run_part, part, case, arguments, **made)
                bar.advance()
            place = {**dict(zip(("space", "pixels", "threads"), case, strict=True)), "onednn": onednn}
            results += [{**place, **row(found, execution)} for execution in arguments.executions]
    settings = {"batch_size": arguments.batch_size, "freeze_bn": arguments.freeze_bn, "cpu": arguments.cpu}
    report("fair_step", **settings, results=results)


def row(parts: dict, execution: str) -> dict:
    """The figures of one execution."""
    times, single, own = parts["times"], parts["single"], parts[execution]
    found = {"execution": execution, **ratios(times["seconds"], execution), **speed(times, execution)}
    for prefix, name in (("", execution), ("own_", "own"), ("keras_", "keras"), ("torch_", "torch")):
        if name in times["first"]:
            found[f"{prefix}seconds"] = statistics.median(times["seconds"][name])
            step = "first_step" if prefix in ("", "torch_") else "first"
            found[f"{prefix}{step}_seconds"] = times["first"][name]
    found["peak_memory_ratio"] = own["peak_bytes"] / single["peak_bytes"]
    found |= {**own, "single_peak_bytes": single["peak_bytes"], "single_variable_bytes": single["variable_bytes"]}
    if "torch" in times:
        torch = times["torch"]
        found |= {f"torch_{key}": torch[key] for key in ("peak_bytes", "variable_bytes")}
        found |= {"peak_memory_ratio_over_torch": own["peak_bytes"] / torch["peak_bytes"], "torch": torch["torch"]}
    return found


def ratios(seconds: dict, execution: str) -> dict:
    """Medians over the rounds of the fair step's time over the rivals' in the same round, and all of them."""
    found: dict = {}
    for name in ("own", "keras", "torch"):
        if name in seconds:
            median, rounds = round_ratios(seconds[execution], seconds[name])
            found |= {f"ratio_over_{name}": median, f"rounds_ratio_over_{name}": rounds}
    return {"ratio": found["ratio_over_keras"], **found}


def speed(times: dict, execution: str) -> dict:
    """FLOP/s of the step and of the matrix product, and the median of their ratio in the same round."""
    seconds, flop = times["seconds"], 2 * times["multiply_adds"]
    product = 2 * MATRIX**3
    matmul_over_step, _ = round_ratios(seconds["matmul"], seconds[execution])
    return {
        "multiply_adds": times["multiply_adds"],
        "gflops": flop / statistics.median(seconds[execution]) / 1e9,
        "matmul_gflops": product / statistics.median(seconds["matmul"]) / 1e9,
        "share": flop / product * matmul_over_step,
    }


# -- inside a process of its own -----------------------------------------------------------------------------------


def run_part(part: str, case, arguments) -> dict:
    """Times of all variants, or the peak memory of one."""
    space, pixels, threads = case
    bench = Bench(space_named(space), pixels, arguments.batch_size, skip_of(space), arguments.freeze_bn)
    if part == "times":
        rival = bench.torch(arguments.torch_python, threads) if arguments.torch else contextlib.nullcontext()
        with rival as partner:
            return bench.times(arguments.executions, arguments.rounds, cpu_timed if arguments.cpu else timed, partner)
    with quick_to_first_step():  # as in training
        make = bench.largest_network_step if part == "single" else functools.partial(bench.supernet_step, part)
        return bench.peak(make)


class Bench:
    """Steps on one fixed batch and one fixed set of fair paths."""

    def __init__(self, space: SearchSpace, pixels: int, batch_size: int, skip: Skip = "let", freeze_bn: bool = False):
        rng = np.random.default_rng(0)
        self.skip, self.training = skip, not freeze_bn
        self.space, self.shape, self.batch_size = space, (pixels, pixels, 3), batch_size
        self.images = tf.constant(rng.normal(size=(batch_size, *self.shape)), tf.float32)
        self.labels = tf.constant(rng.integers(NUM_CLASSES, size=batch_size), tf.int32)
        self.paths = strict_fair_paths(space, 0, 0)
        self.loss = Loss(NUM_CLASSES, batch_size)

    def times(self, executions, rounds: int, timer: Callable, rival: Partner | None = None) -> dict:
        """Seconds of the first step and of `rounds` alternating ones, for each variant."""
        variants: dict[str, Callable] = {name: functools.partial(self.supernet_step, name) for name in executions}
        variants["own"] = self.stand_alone_steps
        variants["keras"] = functools.partial(self.stand_alone_steps, plain_keras=True)
        variants["matmul"] = matrix_product
        first: dict[str, float] = {}
        turns: dict[str, Callable[[], float]] = {}
        for name, make in variants.items():
            with contextlib.nullcontext() if name == "keras" else quick_to_first_step():
                turns[name] = functools.partial(timer, make())
                first[name] = turns[name]()
            turns[name]()
        found: dict[str, Any] = {"first": first, "multiply_adds": self.multiply_adds()}
        if rival:
            first["torch"] = rival.turn()["seconds"]
            found["torch"] = [rival.turn() for _ in range(2)][-1]  # after three steps, as in `peak`
            turns["torch"] = lambda: rival.turn()["seconds"]
        return {**found, "seconds": alternate(turns, rounds)}

    def multiply_adds(self) -> int:
        """Multiply-adds of a fair step; what counts is said at the head of this file."""
        return fair_multiply_adds(self.space, self.specs(), self.batch_size)

    def torch(self, python: str, threads: int) -> Partner:
        """The supernet in PyTorch, on the same paths and a batch of the same size."""
        case = {"space": space_facts(self.space), "paths": np.asarray(self.paths).tolist(), "pixels": self.shape[0]}
        case |= {"batch_size": self.batch_size, "num_classes": NUM_CLASSES, "threads": threads}
        return Partner([python, pathlib.Path(__file__).with_name("torch_supernet.py"), json.dumps(case)])

    def peak(self, make) -> dict:
        """Growth of the peak resident set by three steps, tracing included, beyond the variables' memory."""
        # What TensorFlow's first operation allocates once does not count.
        tf.function(lambda x: tf.nn.conv2d(x, tf.ones([3, 3, 3, 8]), 1, "SAME"))(self.images)
        started = peak_bytes()
        step = make()
        variables = peak_bytes() - started
        return {"peak_bytes": growth(step), "variable_bytes": variables}

    def supernet_step(self, execution: str):
        supernet = Supernet(self.space, self.shape, NUM_CLASSES, skip=self.skip)
        step = SupernetStep(supernet, sgd(supernet), self.loss, execution, training=self.training)
        if step.compiled:
            step = tf.function(step, autograph=False)
        return lambda: step(self.images, self.labels, self.paths)["loss"].numpy()

    def stand_alone_steps(self, plain_keras: bool = False):
        steps = [self.network_step(spec, plain_keras) for spec in self.specs()]
        return lambda: [step() for step in steps]

    def largest_network_step(self):
        return self.network_step(max(self.specs(), key=lambda spec: count_spec(spec).multiply_adds))

    def specs(self):
        return path_specs(self.space, self.paths, self.shape, self.skip)

    def network_step(self, spec, plain_keras: bool = False):
        network = plain_reference(Network(spec)) if plain_keras else Network(spec)
        optimizer = sgd(network, keras.optimizers.SGD if plain_keras else MomentumSGD)

        @tf.function(autograph=False)
        def step(images, labels):
            with tf.GradientTape() as tape:
                loss, _ = self.loss(labels, network(images, training=self.training))
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
            return loss

        return lambda: step(self.images, self.labels).numpy()


def sgd(model, kind=MomentumSGD):
    """The supernet's optimizer, built."""
    optimizer = kind(learning_rate=0.001, momentum=0.9)
    optimizer.build(model.trainable_variables)
    return optimizer


def matrix_product():
    """A product of two random matrices, MATRIX x MATRIX."""
    one, other = (tf.random.stateless_normal([MATRIX, MATRIX], [0, seed]) for seed in range(2))
    return lambda: tf.matmul(one, other)


def space_facts(space: SearchSpace) -> dict:
    """The facts about a space that `torch_supernet.TorchSupernet` reads."""
    return {
        "widths": space.widths,
        "stem_stride": space.stem_stride,
        "activation": space.activation,
        "layers": [(layer.in_channels, layer.out_channels, layer.stride) for layer in space.layers],
        "choices": [choice.to_dict() for choice in space.choices],
    }


if __name__ == "__main__":
    main()
