"""Time depthwise convolutions in LiteRT on this host: filters of 3, 5 and 7, and the one of 7 in parts.

    python tools/bench_splitting.py

One layer a file, shapes of the published space at 224 pixels, one thread, float32 and int8; the files of one shape take turns.
Prints one JSON object. results: pixels, channels, stride, variant and the median ms of kernel_3, kernel_5, kernel_7 and
kernel_7_split; split_ratio is split over whole (median of the rounds' ratios).
"""

from __future__ import annotations

import keras
import numpy as np

from bench_deploy import to_tflite
from measuring import parse, report
from scarlet_tf.export.tflite import rewrite_for_xnnpack
from scarlet_tf.latency.timing import new_interpreter, time_interpreters
from scarlet_tf.layers import primitives

SHAPES = ((112, 48, 2), (56, 96, 2), (28, 240, 1), (14, 480, 1), (14, 576, 2), (7, 1152, 1))
"""(pixels of a side, channels, stride)"""


def main() -> None:
    """Convert and time every shape as float32 and int8."""
    options = parse(__doc__, threads=1, rounds=5)
    results = [time_shape(*shape, quantization, options) for shape in SHAPES for quantization in ("none", "int8")]
    report("splitting", threads=options.threads, results=results)


def time_shape(pixels: int, channels: int, stride: int, quantization: str, options) -> dict:
    """One row of the results; int8 is calibrated with normal noise."""
    models = {f"kernel_{size}": layer(pixels, channels, size, stride) for size in (3, 5, 7)}
    models["kernel_7_split"] = rewrite_for_xnnpack(models["kernel_7"])
    noise = np.random.default_rng(0).normal(size=(2, pixels, pixels, channels)).astype(np.float32)
    contents = [to_tflite(model, quantization, noise) for model in models.values()]
    interpreters = [new_interpreter(content, options.threads) for content in contents]
    timings = dict(zip(models, time_interpreters(interpreters, options.rounds, 0.05), strict=True))
    return {
        "pixels": pixels,
        "channels": channels,
        "stride": stride,
        "variant": "float32" if quantization == "none" else quantization,
        **{name: round(timing.milliseconds, 4) for name, timing in timings.items()},
        "split_ratio": round(timings["kernel_7_split"].ratio(timings["kernel_7"]), 3),
    }


def layer(pixels: int, channels: int, size: int, stride: int) -> keras.Model:
    """A depthwise convolution as the networks have it."""
    image = keras.Input((pixels, pixels, channels))
    x = primitives.symmetric_padding(size, "pad")(image) if stride > 1 else image
    return keras.Model(image, primitives.depthwise_conv(channels, size, "depthwise", seed=0, stride=stride)(x))


if __name__ == "__main__":
    main()
