"""One strict-fair step against the sum of the m stand-alone networks' training steps, with and without oneDNN.

    python tools/bench_fair_step.py
    python tools/bench_fair_step.py --spaces s1 s2 --pixels 64 96 --threads 1 2
    python tools/bench_fair_step.py --torch --torch-python torchenv/bin/python

For each space, size, number of threads and TF_ENABLE_ONEDNN_OPTS (0 and 1), one process holds the m networks of one set of
fair paths (LETs in place, as in the supernet) twice, the supernet under `sequential` and under `lanes`; their steps alternate.
Ratios are medians over the rounds; `rounds_ratio_*` has all of them. Prints one JSON object.

`ratio`, also called `ratio_over_keras`, is the fair step over the sum of the networks as Keras trains them: Keras' layers
and SGD, TensorFlow's usual graph optimisation. `ratio_over_own` is over the same networks with this package's layers and
optimizer, as `retrain` uses them, so that nothing but the fair step itself differs.

`share` is the step's FLOP/s (`gflops`) over those of a product of two float32 matrices, 2048 x 2048 (`matmul_gflops`), which
alternates with it in the same process on the same threads. Two FLOP a multiply-add. A step's multiply-adds are those of
convolutions, squeeze-and-excitation and the classifier, as `scarlet cost` counts them, three times (forward, gradient of
the inputs, gradient of the weights), for every image and path; the stem counts once, not once a path, and the gradient of
the images, which nobody needs, does not count. Neither do BN, activations and the optimizer, whose time does.

`--torch` adds a supernet in PyTorch (`torch_supernet.py`), whose steps, in a child process, alternate with the others:
`ratio_over_torch`, `peak_memory_ratio_over_torch` and `torch_*`. PyTorch has a oneDNN of its own in both modes.

Memory is measured in a process that runs one variant only, as the growth of the peak resident set by three steps:
`peak_memory_ratio` is over that of the most expensive single network, `variable_bytes` (weights and momentum, which exist
before the first step) are apart from it. `first_step_seconds` is tracing, graph optimisation and the first run, in this
process. Exit code 2: no PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
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

from measuring import Partner, add_onednn_option, alternate, in_child, onednn_modes, peak_bytes, round_ratios, timed
from scarlet_tf.cost import count_spec, stem_cost
from scarlet_tf.evaluation.graphs import quick_to_first_step
from scarlet_tf.models.network import Network
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.progress import progress_bar
from scarlet_tf.space import Architecture, SearchSpace
from scarlet_tf.training.fair_step import EXECUTIONS, SupernetStep
from scarlet_tf.training.optimizers import Loss, MomentumSGD
from scarlet_tf.training.sampling import strict_fair_paths

NUM_CLASSES = 1000
MATRIX = 2048  # rows and columns of the product that represents a core's speed


def main() -> None:
    """Parse; measure each combination in its own processes, since threads and modes are fixed once; print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", default=["s1"], choices=["s1", "s2"])
    parser.add_argument("--pixels", nargs="+", type=int, default=[64])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="alternating measurements of which the median counts")
    add_onednn_option(parser)
    parser.add_argument("--torch", action="store_true", help="measure a supernet in PyTorch, too")
    parser.add_argument(
        "--torch-python", default=sys.executable, help="the Python that has PyTorch (default: this one)"
    )
    parser.add_argument("--part", choices=["times", "single", *EXECUTIONS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(run_part(arguments)))
        return
    if (
        arguments.torch
        and subprocess.run([arguments.torch_python, "-c", "import torch"], capture_output=True).returncode
    ):
        print(f"bench_fair_step: {arguments.torch_python}: no PyTorch: pip install '.[torch]'", file=sys.stderr)
        sys.exit(2)
    modes = onednn_modes(arguments.onednn)
    cases = [(s, p, t) for s in arguments.spaces for p in arguments.pixels for t in arguments.threads]
    results = []
    with progress_bar("fair step", len(cases) * len(modes) * (2 + len(EXECUTIONS))) as bar:
        for case in cases:
            for onednn in modes:
                results += measure(case, onednn, arguments, bar)
    print(json.dumps({"benchmark": "fair_step", "batch_size": arguments.batch_size, "results": results}))


def measure(case, onednn: int, arguments, bar) -> list[dict]:
    """One row an execution."""
    space, pixels, threads = case
    options = ["--spaces", space, "--pixels", pixels, "--threads", threads, "--batch-size", arguments.batch_size]
    options += ["--rounds", arguments.rounds]
    parts = {}
    for part in ("times", "single", *EXECUTIONS):
        rival = ["--torch", "--torch-python", arguments.torch_python] if arguments.torch and part == "times" else []
        parts[part] = in_child(__file__, [*options, *rival, "--part", part], onednn)
        bar.advance()
    times, single = parts["times"], parts["single"]
    seconds = times["seconds"]
    return [
        {
            "space": space,
            "pixels": pixels,
            "threads": threads,
            "execution": execution,
            "onednn": onednn,
            **ratios(seconds, execution),
            **speed(times, execution),
            "seconds": statistics.median(seconds[execution]),
            "own_seconds": statistics.median(seconds["own"]),
            "keras_seconds": statistics.median(seconds["keras"]),
            "peak_memory_ratio": parts[execution]["peak_bytes"] / single["peak_bytes"],
            "peak_bytes": parts[execution]["peak_bytes"],
            "single_peak_bytes": single["peak_bytes"],
            "variable_bytes": parts[execution]["variable_bytes"],
            "single_variable_bytes": single["variable_bytes"],
            "first_step_seconds": times["first"][execution],
            "own_first_seconds": times["first"]["own"],
            "keras_first_seconds": times["first"]["keras"],
            **(over_torch(times, parts[execution]) if arguments.torch else {}),
        }
        for execution in EXECUTIONS
    ]


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


def over_torch(times: dict, own: dict) -> dict:
    """Seconds and memory of the supernet in PyTorch."""
    torch = times["torch"]
    return {
        "torch_seconds": statistics.median(times["seconds"]["torch"]),
        "torch_first_step_seconds": times["first"]["torch"],
        "torch_peak_bytes": torch["peak_bytes"],
        "torch_variable_bytes": torch["variable_bytes"],
        "peak_memory_ratio_over_torch": own["peak_bytes"] / torch["peak_bytes"],
        "torch": torch["torch"],
    }


# -- inside a process of its own -----------------------------------------------------------------------------------


def run_part(arguments) -> dict:
    """Times of all variants, or the peak memory of one."""
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads[0])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    bench = Bench(SearchSpace.from_name(arguments.spaces[0]), arguments.pixels[0], arguments.batch_size)
    if arguments.part == "times":
        if not arguments.torch:
            return bench.times(arguments.rounds)
        with Partner(bench.torch_command(arguments.torch_python, arguments.threads[0])) as rival:
            return bench.times(arguments.rounds, rival)
    with quick_to_first_step():  # as in training
        if arguments.part == "single":
            return bench.peak(bench.largest_network_step)
        return bench.peak(lambda: bench.supernet_step(arguments.part))


class Bench:
    """Steps on one fixed batch and one fixed set of fair paths."""

    def __init__(self, space: SearchSpace, pixels: int, batch_size: int):
        rng = np.random.default_rng(0)
        self.space, self.shape, self.batch_size = space, (pixels, pixels, 3), batch_size
        self.images = tf.constant(rng.normal(size=(batch_size, *self.shape)), tf.float32)
        self.labels = tf.constant(rng.integers(NUM_CLASSES, size=batch_size), tf.int32)
        self.paths = strict_fair_paths(space, 0, 0)
        self.loss = Loss(NUM_CLASSES, batch_size)

    def times(self, rounds: int, rival: Partner | None = None) -> dict:
        """Seconds of the first step and of `rounds` alternating ones, for each variant."""
        variants: dict[str, Callable] = {name: functools.partial(self.supernet_step, name) for name in EXECUTIONS}
        variants["own"] = self.stand_alone_steps
        variants["keras"] = functools.partial(self.stand_alone_steps, plain_keras=True)
        variants["matmul"] = matrix_product
        first: dict[str, float] = {}
        turns: dict[str, Callable[[], float]] = {}
        for name, make in variants.items():
            with contextlib.nullcontext() if name == "keras" else quick_to_first_step():
                turns[name] = functools.partial(timed, make())
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
        ends = self.space.ends(self.shape)
        image_gradient = stem_cost(ends.replace(first_channels=None)).multiply_adds
        shared = stem_cost(ends).multiply_adds
        paths = sum(count_spec(spec).multiply_adds - shared for spec in self.specs())
        return self.batch_size * (3 * (paths + shared) - image_gradient)

    def torch_command(self, python: str, threads: int) -> list[str]:
        """The command for the supernet in PyTorch on the same paths and a batch of the same size."""
        case = {
            "space": space_facts(self.space),
            "paths": np.asarray(self.paths).tolist(),
            "pixels": self.shape[0],
            "batch_size": self.batch_size,
            "num_classes": NUM_CLASSES,
            "threads": threads,
        }
        return [python, str(pathlib.Path(__file__).with_name("torch_supernet.py")), json.dumps(case)]

    def peak(self, make) -> dict:
        """Growth of the peak resident set by three steps, tracing included, beyond the variables' memory."""
        self.warm_up()
        started = peak_bytes()
        step = make()
        before = peak_bytes()
        for _ in range(3):
            step()
        return {"peak_bytes": peak_bytes() - before, "variable_bytes": before - started}

    def warm_up(self) -> None:
        """Run a first TensorFlow step, whose one-time allocations do not count."""
        tf.function(lambda x: tf.nn.conv2d(x, tf.ones([3, 3, 3, 8]), 1, "SAME"))(self.images)

    def supernet_step(self, execution: str):
        supernet = Supernet(self.space, self.shape, NUM_CLASSES)
        optimizer = sgd(supernet)
        step = SupernetStep(supernet, optimizer, self.loss, execution)
        step = tf.function(step, autograph=False) if step.compiled else step
        return lambda: step(self.images, self.labels, self.paths)["loss"].numpy()

    def stand_alone_steps(self, plain_keras: bool = False):
        steps = [self.network_step(spec, plain_keras) for spec in self.specs()]
        return lambda: [step() for step in steps]

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

        return lambda: step(self.images, self.labels).numpy()


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
