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

import functools
import os
import pathlib
import statistics
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from measuring import alternate, command_line, report, timed
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.data.augmentation import Policy
from scarlet_tf.data.image_files import SUFFIXES
from scarlet_tf.data.images import FileImages
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import IndexedSplit
from scarlet_tf.models.zoo import ScarletA
from scarlet_tf.training.optimizers import Loss

NUM_CLASSES = 1000
WARM_UP = 2


class WholeImages:
    """Images without access to the bytes, so that the pipeline decodes all of every file."""

    def __init__(self, images: FileImages):
        self.load = images.load


def main() -> None:
    """Measure on the photographs, or on made ones."""
    root = os.environ.get("SCARLET_DATA_DIR")
    parser = command_line(
        __doc__,
        folder={"default": root and f"{root}/photos", "help": "photographs"},
        pixels=224,
        batch_size=32,
        batches=(12, "batches a measurement"),
        rounds=5,
        threads=(0, "of tf.data; 0: as many as TensorFlow takes"),
        step=(False, "measure a training step, too"),
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder = pathlib.Path(arguments.folder or blots(pathlib.Path(made)))
        files = [str(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
        if not files:
            parser.error(f"--folder: expected photographs, found none in {folder}")
        report("input", folder=str(folder), num_files=len(files), **measure(arguments, files))


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
    size, batches = arguments.batch_size, arguments.batches
    turns = {name: lambda dataset=dataset: rate(iter(dataset), size, batches) for name, dataset in variants.items()}
    if arguments.step:
        turns["training_step"] = functools.partial(rate, iter(training_step(arguments), None), size, 3)
    with progress_bar("input", arguments.rounds * len(turns)) as bar:
        rates = alternate(turns, arguments.rounds, bar.advance)
    figures = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    settings = {key: getattr(arguments, key) for key in ("pixels", "batch_size", "threads", "rounds")}
    found = {"images_per_second": figures["ours"], "ratio_to_keras": round(figures["ours"] / figures["keras"], 2)}
    spread = {name: [round(min(values), 1), round(max(values), 1)] for name, values in rates.items()}
    return {**settings, **found, **figures, "spread": spread}


def rate(iterator, batch_size: int, batches: int) -> float:
    """Images a second, without the first batches."""
    for _ in range(WARM_UP):
        next(iterator)
    return batches * batch_size / timed(lambda: [next(iterator) for _ in range(batches)])


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
    jitter = {"brightness_factor": 32 / 255, "contrast_factor": 0.5, "saturation_factor": (0.25, 0.75)}
    crop, flip = layers.RandomCrop(arguments.pixels, arguments.pixels), layers.RandomFlip("horizontal")
    for layer in (crop, flip, layers.RandomColorJitter((0, 255), **jitter), layers.Rescaling(1 / 127.5, offset=-1.0)):
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
