"""The CPU kernels of training against TensorFlow's own operations, and the times of a fair step's operations.

    python tools/bench_kernels.py

Batch 32, sizes as in S1 at 64 pixels, 1 thread, a process for each mode of oneDNN. Two parts:

* `kernels`: forward and gradients of one 1x1 or depthwise convolution; the two variants alternate, and `ratio` is the median
  over the rounds of the kernel's processor time over TensorFlow's.
* `step`: every kind of operation of one strictly fair step of S1, forward and gradients, alone and on inputs of the right size:
  `milliseconds` of processor time in all blocks of all choices (the least of the rounds for each size), and `gflops`, two
  operations a multiply-add. Their sum is more than a step takes, which fuses some of them.

Prints one JSON object.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from measuring import MODES, ROUNDS, alternate, by_mode, cpu_timed, parse, report, round_ratios
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.evaluation import kernels
from scarlet_tf.layers import primitives
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import InvertedResidualSpec

# (pixels, channels in, channels out)
POINTWISE = [(32, 16, 96), (16, 192, 32), (8, 40, 240), (4, 480, 80), (2, 1152, 192)]
# (pixels, channels, size of the filter, stride)
DEPTHWISE = [(16, 192, 5, 1), (16, 192, 7, 1), (4, 480, 7, 1), (2, 1152, 7, 1)]
DEPTHWISE += [(32, 96, 5, 2), (32, 96, 7, 2), (8, 240, 7, 2)]
BATCH_SIZE = 32


def main() -> None:
    """Measure each mode in a process of its own."""
    arguments = parse(__doc__, rounds=(9, ROUNDS), pixels=(64, "of the fair step's images"), onednn=MODES)
    results = by_mode(arguments.onednn, measure, arguments.rounds, arguments.pixels, threads=1)
    report("kernels", batch_size=BATCH_SIZE, results=results)


def measure(rounds: int, pixels: int) -> dict:
    """Both parts, in this process's mode."""
    rows: list[dict] = []
    for side, inner, outer in POINTWISE:
        stock = lambda x, w: tf.nn.conv2d(x, w, 1, "SAME")  # noqa: E731
        shape = (1, 1, inner, outer)
        ratio = compare(kernels.pointwise_conv, stock, side, shape, rounds)
        rows.append({"kind": "pointwise", "pixels": side, "weights": shape, "ratio": ratio})
    for side, channels, size, stride in DEPTHWISE:
        padding = "same" if stride == 1 else "valid"
        ours = lambda x, w: kernels.depthwise_conv(x, w, stride, padding)  # noqa: B023, E731
        stock = lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, stride, stride, 1], padding.upper())  # noqa: B023, E731
        padded, shape = side if stride == 1 else side + size - 1, (size, size, channels, 1)
        ratio = compare(ours, stock, padded, shape, rounds)
        rows.append({"kind": "depthwise", "pixels": side, "weights": shape, "stride": stride, "ratio": ratio})
    return {"route": kernels.route(), "kernels": rows, "step": step_budget(pixels, rounds)}


def compare(ours, stock, pixels: int, weights_shape: tuple, rounds: int) -> float:
    """Median ratio of the processor times of forward and gradients."""
    arguments = tf.random.normal((BATCH_SIZE, pixels, pixels, weights_shape[2])), tf.random.normal(weights_shape)
    runs: dict = {}
    for name, convolution in (("ours", ours), ("stock", stock)):
        run = with_gradients(convolution)
        cpu_timed(run, *arguments)
        runs[name] = lambda run=run: cpu_timed(run, *arguments)
    found = alternate(runs, rounds)
    return round_ratios(found["ours"], found["stock"])[0]


def step_budget(pixels: int, rounds: int) -> dict:
    """{kind of operation: {"milliseconds", "gflops"}} of a strictly fair step, which runs every block of S1 once."""
    totals: dict[str, float] = collections.defaultdict(float)
    work: dict[str, int] = collections.defaultdict(int)
    times: dict[tuple, float] = {}
    found = list(operations(SearchSpace.from_name("s1"), pixels))
    with progress_bar("operations of a step", len(found)) as bar:
        for kind, shapes, multiply_adds, function in found:
            key = kind, *shapes
            if key not in times:
                inputs = [tf.random.normal(shape) for shape in shapes]
                run = with_gradients(function)
                times[key] = min(cpu_timed(run, *inputs) for _ in range(rounds + 1))
            totals[kind] += times[key]
            work[kind] += multiply_adds
            bar.advance()
    return {kind: {"milliseconds": 1e3 * total, "gflops": 2e-9 * work[kind] / total} for kind, total in totals.items()}


def operations(space: SearchSpace, pixels: int) -> Iterator[tuple[str, list[tuple], int, Callable]]:
    """(kind, shapes of the inputs, multiply-adds forward and backward, function) of every operation in every block."""
    shape = (pixels, pixels, 3)
    for choice in range(space.num_choices):
        network = Architecture((choice,) * space.num_layers, space).lower(shape, 1000, skip="let")
        side = -(-pixels // space.stem_stride)
        for block in network.blocks:
            if isinstance(block, InvertedResidualSpec) and block.expand:
                yield from block_operations(block, side)
            side = -(-side // block.stride)


def block_operations(block: InvertedResidualSpec, side: int) -> Iterator[tuple[str, list[tuple], int, Callable]]:
    """The operations of one block whose input has `side` pixels."""
    size, stride, hidden = block.kernel_size, block.stride, block.hidden_channels
    small, zeros = -(-side // stride), size // 2 if stride > 1 else 0
    wide, narrow = (BATCH_SIZE, side, side, hidden), (BATCH_SIZE, small, small, hidden)
    output = (BATCH_SIZE, small, small, block.out_channels)
    activation = primitives.activation(block.activation, "activation")
    for x, inner, outer in (
        ((*wide[:3], block.in_channels), block.in_channels, hidden),
        (narrow, hidden, block.out_channels),
    ):
        count = 3 * BATCH_SIZE * x[1] ** 2 * inner * outer
        yield "1x1 convolutions", [x, (1, 1, inner, outer)], count, kernels.pointwise_conv
    padded, padding = (BATCH_SIZE, side + 2 * zeros, side + 2 * zeros, hidden), "valid" if zeros else "same"
    count = 3 * BATCH_SIZE * small**2 * size**2 * hidden

    def depthwise(x, weights):
        return kernels.depthwise_conv(x, weights, stride, padding)

    def batch_norm(x, gamma, beta):
        return kernels.fused_batch_norm(x, gamma, beta, 1e-5)[0]

    yield "depthwise convolutions", [padded, (size, size, hidden, 1)], count, depthwise
    for x in (wide, narrow, output):
        yield "batch normalisation", [x, x[3:], x[3:]], 0, batch_norm
    for x in (wide, narrow):
        yield "activations", [x], 0, activation
    if zeros:
        yield "padding", [wide], 0, lambda x: tf.pad(x, [[0, 0], [zeros, zeros], [zeros, zeros], [0, 0]])
    if block.residual:
        yield "additions", [output, output], 0, tf.add


def with_gradients(function):
    """A compiled function: the operation and the gradients of all inputs."""

    @tf.function(autograph=False)
    def run(*inputs):
        with tf.GradientTape() as tape, kernels.in_step():
            tape.watch(inputs)
            y = function(*inputs)
        return tape.gradient(y, inputs, output_gradients=y)

    return lambda *inputs: [gradient.numpy() for gradient in run(*inputs)]


if __name__ == "__main__":
    main()
