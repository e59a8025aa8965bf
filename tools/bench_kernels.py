"""The CPU kernels of training against TensorFlow's own operations.

    python tools/bench_kernels.py

Forward and gradients of one 1x1 or depthwise convolution, batch 32, sizes as in S1 at 64 pixels, 1 thread; the two variants
alternate in one process. `ratio` is the median over the rounds of the kernel's time over TensorFlow's. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from scarlet_tf.training import kernels

# (pixels, channels in, channels out)
POINTWISE = [(32, 16, 96), (16, 192, 32), (8, 40, 240), (4, 480, 80), (2, 1152, 192)]
# (pixels, channels, size of the filter)
DEPTHWISE = [(16, 192, 5), (16, 192, 7), (8, 240, 7), (4, 480, 7), (2, 1152, 3), (2, 1152, 7)]
BATCH_SIZE = 32


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="alternating measurements of which the median counts")
    rounds = parser.parse_args().rounds
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rows = []
    for pixels, inner, outer in POINTWISE:
        stock = lambda x, w: tf.nn.conv2d(x, w, 1, "SAME")  # noqa: E731
        ratio = compare(kernels.pointwise_conv, stock, pixels, (1, 1, inner, outer), rounds)
        rows.append({"kind": "pointwise", "pixels": pixels, "weights": [1, 1, inner, outer], "ratio": ratio})
    for pixels, channels, size in DEPTHWISE:
        ours = lambda x, w: kernels.depthwise_conv(x, w, 1, "same")  # noqa: E731
        stock = lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME")  # noqa: E731
        ratio = compare(ours, stock, pixels, (size, size, channels, 1), rounds)
        rows.append({"kind": "depthwise", "pixels": pixels, "weights": [size, size, channels, 1], "ratio": ratio})
    print(json.dumps({"benchmark": "kernels", "batch_size": BATCH_SIZE, "results": rows}))


def compare(ours, stock, pixels: int, weights_shape: tuple, rounds: int) -> float:
    """Median ratio of the times of forward and gradients."""
    x = tf.random.normal((BATCH_SIZE, pixels, pixels, weights_shape[2]))
    weights = tf.random.normal(weights_shape)
    variants = [with_gradients(ours), with_gradients(stock)]
    for run in variants:
        seconds(run, x, weights)
    pairs = [[seconds(run, x, weights) for run in variants] for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs)


def with_gradients(convolution):
    """A compiled function of x and weights: the convolution and both gradients."""

    @tf.function(autograph=False)
    def run(x, weights):
        with tf.GradientTape() as tape:
            tape.watch([x, weights])
            y = convolution(x, weights)
        return tape.gradient(y, [x, weights], output_gradients=y)

    return run


def seconds(run, *arguments) -> float:
    """Until the gradients are there."""
    started = time.perf_counter()
    for gradient in run(*arguments):
        gradient.numpy()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
