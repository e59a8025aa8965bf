"""Time the published networks as .tflite files beside keras.applications' networks of the same class.

    python tools/bench_deploy.py
    python tools/bench_deploy.py --layers --rounds 5

ScarletA, B and C, MobileNetV2, MobileNetV3Large and EfficientNetB0, random weights, BN statistics of random images, 1000
classes, 224 pixels, batch 1, one thread of LiteRT on this host; float32, dynamic and int8 with h-swish in float, all by this
package's converter. ScarletA also as full_int8, and with ReLU6 in place of h-swish. All files take turns in one process.
Then paths of S2 with their LETs against the same folded: 3x3 and expansion 3 in every second layer, or in the first of each
stage, and random ones with 5, 7, 9 skips.

Prints one JSON object. models: name, variant, ms (median), deviation (median absolute deviation), ms_per_100m (multiply-adds as
counted in the Keras model), mb (10^6 bytes), ratio to the same network's float32 (median of the rounds' ratios), partitions.
int8_ratio: the greatest of ScarletA, B and C. ms_per_100m_ratio: over MobileNetV3Large's, float32. fold_ratio: folded over
unfolded time on the first path, which has ten LETs; folds has each path.

`--layers` times depthwise convolutions instead, filters of 3, 5 and 7 and the one of 7 in parts: one layer a file, shapes of S2
at 224 pixels, float32 and int8; the files of one shape take turns. results: pixels, channels, stride, variant and the median ms
of kernel_3, kernel_5, kernel_7 and kernel_7_split; split_ratio is split over whole (median of the rounds' ratios).
"""

from __future__ import annotations

import itertools
import tempfile

from scarlet_tf.base import logs

logs.quiet_frameworks()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import scarlet_tf as st  # noqa: E402
from measuring import parse, report  # noqa: E402
from scarlet_tf.base.progress import progress_bar  # noqa: E402
from scarlet_tf.base.streams import quiet  # noqa: E402
from scarlet_tf.export import flatbuffer  # noqa: E402
from scarlet_tf.export.tflite import convert, rewrite_for_xnnpack  # noqa: E402
from scarlet_tf.latency.timing import new_interpreter, time_interpreters  # noqa: E402
from scarlet_tf.layers import primitives  # noqa: E402
from scarlet_tf.models.network import Network  # noqa: E402
from scarlet_tf.models.zoo_data import ZOO  # noqa: E402

VARIANTS = {"float32": "none", "dynamic": "dynamic", "int8": "int8"}
CALIBRATION_IMAGES = 4
OURS = ("ScarletA", "ScarletB", "ScarletC")
FOLDED_PATH = "every second layer"
SHAPES = ((112, 48, 2), (56, 96, 2), (28, 240, 1), (14, 480, 1), (14, 576, 2), (7, 1152, 1))
"""(pixels of a side, channels, stride)"""


def main() -> None:
    """Convert and time the networks, then the paths."""
    more = (3, "random paths of S2, beside the two lean ones")
    layers = (False, "time depthwise convolutions in place of networks")
    options = parse(__doc__, pixels=224, threads=1, rounds=15, random_paths=more, layers=layers)
    if options.layers:
        kinds = itertools.product(SHAPES, ("none", "int8"))
        results = [time_shape(*shape, quantization, options) for shape, quantization in kinds]
        return report("splitting", threads=options.threads, results=results)
    images = np.random.default_rng(0).uniform(-1, 1, (8, options.pixels, options.pixels, 3)).astype(np.float32)
    rows, folds = time_networks(options, images), time_folding(options, images)
    per_100m = {row["name"]: row["ms_per_100m"] for row in rows if row["variant"] == "float32"}
    report(
        "deploy",
        pixels=options.pixels,
        threads=options.threads,
        models=rows,
        int8_ratio=max(row["ratio"] for row in rows if row["variant"] == "int8" and row["name"] in OURS),
        ms_per_100m_ratio={name: round(ms / per_100m["MobileNetV3Large"], 3) for name, ms in per_100m.items()},
        fold_ratio=next(fold["ratio"] for fold in folds if fold["path"] == FOLDED_PATH),
        folds=folds,
    )


def networks(pixels: int):
    """(name, Keras model, variants) of everything that is timed."""
    shape, more = (pixels, pixels, 3), {**VARIANTS, "full_int8": "full_int8"}
    yield "ScarletA", st.ScarletA(input_shape=shape), more
    yield "ScarletB", st.ScarletB(input_shape=shape), VARIANTS
    yield "ScarletC", st.ScarletC(input_shape=shape), VARIANTS
    relu6 = st.SearchSpace.from_name("s2", activation="relu6")
    choices = ZOO["scarlet_a"].architecture.choices
    yield "ScarletA, ReLU6", st.build_network(st.Architecture(choices, relu6), shape), more
    for name in ("MobileNetV2", "MobileNetV3Large", "EfficientNetB0"):
        yield name, getattr(keras.applications, name)(weights=None, input_shape=shape), VARIANTS


def time_networks(options, images: np.ndarray) -> list[dict]:
    """One row a network and variant."""
    files = []
    with progress_bar("converting", 7) as bar:
        for name, model, variants in networks(options.pixels):
            measure_statistics(model, images)
            for variant, quantization in variants.items():
                content = to_tflite(rewrite_for_xnnpack(model), quantization, images)
                files.append((name, variant, multiply_adds(model), content))
            bar.advance()
    interpreters = [new_interpreter(content, options.threads) for *_, content in files]
    with progress_bar("timing", options.rounds * len(files)) as bar:
        timings = time_interpreters(interpreters, options.rounds, 0.2, bar.advance)
    base = {file[0]: timing for file, timing in zip(files, timings, strict=True) if file[1] == "float32"}
    rows = []
    for (name, variant, count, content), timing, interpreter in zip(files, timings, interpreters, strict=True):
        ms = {"ms": round(timing.milliseconds, 3), "deviation": round(timing.deviation, 3)}
        ms["ms_per_100m"] = round(1e8 * timing.milliseconds / count, 3)
        size = {"mb": round(len(content) / 1e6, 2), "ratio": round(timing.ratio(base[name]), 3), "multiply_adds": count}
        partitions = flatbuffer.count_partitions(interpreter)
        rows.append({"name": name, "variant": variant, **ms, **size, "partitions": partitions})
    return rows


def time_folding(options, images: np.ndarray) -> list[dict]:
    """Paths of S2, each with its LETs beside its folded form."""
    space, folds = st.SearchSpace.from_name("s2"), []
    drawn = paths(space, options.random_paths)
    with progress_bar("folding", len(drawn)) as bar:
        for name, choices in drawn.items():
            architecture = st.Architecture(choices, space)
            spec = architecture.lower((options.pixels, options.pixels, 3), 1000, skip="let")
            model = Network(spec, seed=0)
            measure_statistics(model, images)
            folded, rules = st.fold(model)
            contents = [to_tflite(rewrite_for_xnnpack(each), "none", images) for each in (model, folded)]
            interpreters = [new_interpreter(content, options.threads) for content in contents]
            before, after = time_interpreters(interpreters, options.rounds, 0.2)
            difference = np.abs(model.predict(images, verbose=0) - folded.predict(images, verbose=0)).max()
            row: dict = {"path": name, "choices": architecture.to_string()}
            row |= {"lets": len(rules), "lets_left": sum(rule.rule == 5 for rule in rules)}
            row |= {"ms": round(after.milliseconds, 3), "ratio": round(after.ratio(before), 3)}
            row["multiply_adds_ratio"] = round(multiply_adds(folded) / multiply_adds(model), 3)
            folds.append({**row, "max_logit_difference": float(difference)})
            bar.advance()
    return folds


def paths(space, random_paths: int) -> dict[str, tuple[int, ...]]:
    """Two lean paths, in which LETs are much of the work, and random ones with 5, 7, 9 ... skips."""
    skip, lean, layers = space.num_choices - 1, 0, range(space.num_layers)
    firsts = {sum(stage.depth for stage in space.stages[:number]) for number in range(len(space.stages))}
    found = {
        "every second layer": tuple(lean if layer % 2 else skip for layer in layers),
        "first of each stage": tuple(lean if layer in firsts else skip for layer in layers),
    }
    rng = np.random.default_rng(0)
    for number in range(random_paths):
        choices = rng.integers(skip, size=space.num_layers)
        choices[rng.choice(space.num_layers, 5 + 2 * number, replace=False)] = skip
        found[f"random {number}"] = tuple(map(int, choices))
    return found


def measure_statistics(model: keras.Model, images: np.ndarray) -> None:
    """BN statistics of these images, so that activations are of a trained network's order of magnitude."""
    for layer in model.layers:
        if hasattr(layer, "moving_variance"):
            layer.momentum = 0.0
    model(images, training=True)


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of all convolutions and dense layers, from their weights and outputs; a batch of one."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    counted = [layer for layer in model.layers if isinstance(layer, kinds)]
    return sum(int(np.prod(layer.output.shape[1:-1]) * np.prod(layer.kernel.shape)) for layer in counted)


def to_tflite(model: keras.Model, quantization: str, images: np.ndarray) -> bytes:
    """Convert as it is, with batch 1, by the package's converter."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        signature = [keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32", name="image")]
        model.export(folder, format="tf_saved_model", input_signature=signature, verbose=False)
        calibration = images[:CALIBRATION_IMAGES]
        return convert(lambda: tf.lite.TFLiteConverter.from_saved_model(folder), quantization, calibration)


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
