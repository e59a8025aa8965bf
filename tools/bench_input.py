"""Images a second of the input pipeline with the ImageNet recipe, against plain Keras layers.

    python tools/bench_input.py --folder PHOTOS
    python tools/bench_input.py --threads 2 --step

The folder (default $SCARLET_DATA_DIR/photos) holds photographs, in class folders or not; they are read over and over.
Without one, 64 JPEGs of random blots, 500 x 375, are made and read.
In every round the variants run one after another, each from a fresh iterator whose first batches do not count; medians
are compared. Prints one JSON object, in images a second:

    ours             decoding of the crop alone, Inception crop, flip, colour jitter, normalisation
    decode_then_crop the same images, bit by bit, with all of every file decoded
    strong           ours with the recipe `modern`'s RandAugment, random erasing, mixup and cutmix
    keras            keras.utils.image_dataset_from_directory at 256 pixels, RandomCrop, RandomFlip, RandomColorJitter,
                     Rescaling; Keras has no crop of random area
    training_step    with --step: forward, backward and update of ScarletA on one batch that is there

`images_per_second` is ours, `ratio_to_keras` ours over keras. `spread` is the least and the greatest round of each.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.data.augmentation import Policy
from scarlet_tf.data.image_files import SUFFIXES
from scarlet_tf.data.images import FileImages
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import IndexedSplit
from scarlet_tf.models.zoo import ScarletA
from scarlet_tf.progress import progress_bar
from scarlet_tf.training.optimizers import Loss

NUM_CLASSES = 1000
WARM_UP = 2


class WholeImages:
    """Images without access to the bytes, so that the pipeline decodes all of every file."""

    def __init__(self, images: FileImages):
        self.load = images.load


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.environ.get("SCARLET_DATA_DIR")
    default = pathlib.Path(root) / "photos" if root else None
    parser.add_argument("--folder", type=pathlib.Path, default=default, help="photographs")
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=12, help="batches a measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of tf.data; 0: as many as TensorFlow takes")
    parser.add_argument("--step", action="store_true", help="measure a training step, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        arguments.folder = arguments.folder or blots(pathlib.Path(made))
        print(json.dumps({"benchmark": "input", **on_files(arguments, parser)}))


def on_files(arguments, parser) -> dict:
    """The figures on the photographs of `arguments.folder`."""
    files = [str(path) for path in sorted(arguments.folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not files:
        parser.error(f"--folder: expected photographs, found none in {arguments.folder}")
    return {"folder": str(arguments.folder), "num_files": len(files), **measure(arguments, files)}


def blots(folder: pathlib.Path) -> pathlib.Path:
    """`folder` with 64 JPEGs that are about as large as photographs of ImageNet."""
    rng = np.random.default_rng(0)
    for i in range(64):
        coarse = rng.uniform(0, 255, (1, 47, 63, 3)).astype(np.float32)
        image = tf.image.resize(coarse, (375, 500), method="bicubic")[0] + rng.normal(0, 8, (375, 500, 3))
        pixels = tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)
        tf.io.write_file(str(folder / f"{i:02d}.jpeg"), tf.io.encode_jpeg(pixels, quality=90))
    return folder


def measure(arguments, files: list[str]) -> dict:
    """The medians of all variants, alternating."""
    variants = {
        "ours": ours(arguments, files),
        "decode_then_crop": ours(arguments, files, whole=True),
        "strong": ours(arguments, files, policy=Policy(NUM_CLASSES, 2, 9.0, 0.1, 0.2, 1.0)),
        "keras": plain_keras(arguments),
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    step = training_step(arguments) if arguments.step else None
    if step:
        rates["training_step"] = []
    with progress_bar("input", arguments.rounds * len(rates)) as bar:
        for _ in range(arguments.rounds):
            for name, dataset in variants.items():
                rates[name].append(rate(iter(dataset), arguments))
                bar.advance()
            if step:
                rates["training_step"].append(rate(iter(step, None), arguments, batches=3))
                bar.advance()
    figures = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    settings = {key: getattr(arguments, key) for key in ("pixels", "batch_size", "threads", "rounds")}
    spread = {name: [round(min(values), 1), round(max(values), 1)] for name, values in rates.items()}
    found = {"images_per_second": figures["ours"], "ratio_to_keras": round(figures["ours"] / figures["keras"], 2)}
    return {**settings, **found, **figures, "spread": spread}


def rate(iterator, arguments, batches: int | None = None) -> float:
    """Images a second, without the first batches."""
    batches = batches or arguments.batches
    for _ in range(WARM_UP):
        next(iterator)
    started = time.perf_counter()
    for _ in range(batches):
        next(iterator)
    return batches * arguments.batch_size / (time.perf_counter() - started)


def ours(arguments, files: list[str], whole: bool = False, policy: Policy | None = None) -> tf.data.Dataset:
    """Training batches of the package's own split."""
    repeats = -(-(arguments.batches + WARM_UP + 50) * arguments.batch_size // len(files))
    indices = np.tile(np.arange(len(files)), repeats)
    images: Any = WholeImages(FileImages(files)) if whole else FileImages(files)
    preprocessing = Preprocessing(arguments.pixels, 0.875, "inception", "inception")
    split = IndexedSplit(images, indices, indices % NUM_CLASSES, preprocessing).with_policy(policy)
    return with_threads(split.batches(arguments.batch_size, training=True), arguments.threads)


def plain_keras(arguments) -> tf.data.Dataset:
    """Usual Keras code: images resized while read, then the layers on whole batches."""
    side, layers = round(arguments.pixels / 0.875), keras.layers
    dataset = keras.utils.image_dataset_from_directory(
        arguments.folder, labels=None, image_size=(side, side), batch_size=arguments.batch_size, verbose=False
    )
    dataset = dataset.unbatch().repeat().batch(arguments.batch_size, drop_remainder=True)
    steps = (
        layers.RandomCrop(arguments.pixels, arguments.pixels),
        layers.RandomFlip("horizontal"),
        layers.RandomColorJitter(
            (0, 255), brightness_factor=32 / 255, contrast_factor=0.5, saturation_factor=(0.25, 0.75)
        ),
        layers.Rescaling(1 / 127.5, offset=-1.0),
    )
    for layer in steps:
        dataset = dataset.map(lambda x, layer=layer: layer(x, training=True), tf.data.AUTOTUNE)
    return with_threads(dataset.prefetch(tf.data.AUTOTUNE), arguments.threads)


def with_threads(dataset: tf.data.Dataset, threads: int) -> tf.data.Dataset:
    """`dataset` on its own pool of threads, if a number is given."""
    options = tf.data.Options()
    if threads:
        options.threading.private_threadpool_size = threads
    return dataset.with_options(options)


def training_step(arguments):
    """A call that trains ScarletA on the same random batch."""
    model = ScarletA(input_shape=(arguments.pixels, arguments.pixels, 3), classifier_activation=None)
    optimizer, loss = keras.optimizers.SGD(0.01, momentum=0.9), Loss(NUM_CLASSES, arguments.batch_size)
    optimizer.build(model.trainable_variables)
    images = tf.random.stateless_normal([arguments.batch_size, arguments.pixels, arguments.pixels, 3], [0, 0])
    labels = tf.range(arguments.batch_size) % NUM_CLASSES

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            value, _ = loss(labels, model(images, training=True))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    return lambda: float(train())


if __name__ == "__main__":
    main()
