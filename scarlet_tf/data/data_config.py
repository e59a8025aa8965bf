"""DataConfig: the dataset, its splits and the preparation of its images. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from annotated_types import Ge, Le

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import AboveZero, Between, Count, Lax, Positive, Share, Text, Whole, validated

Named = Literal["inception", "imagenet", "unit", "lite"]
Colours = tuple[float, float, float]
# (mean, standard deviation) of red, green and blue in units of 0..255; what a network reads is (pixel - mean) / std.
STATISTICS: dict[Named, tuple[Colours, Colours]] = {
    "inception": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "lite": ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}
Resizing = Literal["bilinear", "bicubic"]
Augmentation = Literal["none", "shift", "crop_flip", "inception"]


@validated("data.normalization")
@dataclasses.dataclass(frozen=True)
class Statistics:
    """Mean and deviation of a normalisation that has no name: what the network reads is (pixel - mean) / std.

    Args:
        mean: of red, green and blue, in units of 0..255, or one number for all three.
        std: likewise.
    """

    mean: Annotated[Colours, Lax()] | float
    std: Annotated[tuple[Positive, Positive, Positive], Lax()] | Positive

    def __post_init__(self):
        for key in ("mean", "std"):
            value = getattr(self, key)
            object.__setattr__(self, key, value if isinstance(value, tuple) else (value,) * 3)


Normalization = Named | Annotated[Statistics, Lax()]


@validated("data")
@dataclasses.dataclass(frozen=True)
class DataConfig:
    """One dataset.

    Args:
        source: "digits" (scikit-learn's 8 x 8 digits, embedded), "tfds" (TensorFlow Datasets) or "folder" (class folders).
        name: a TFDS name such as "cifar10", or a title for a folder.
        directory: a prepared TFDS folder (the one with dataset_info.json), or the folder of class folders.
        data_dir: where TFDS keeps prepared datasets, for a lookup by name.
        image_size: side of the square images that the network sees, in pixels.
        validation_fraction: share of the training images held out.
        validation_examples: how many are held out instead; null for the share.
        test_fraction: share of all images held out for testing where the dataset has no test split of its own.
        test_split: name of the TFDS split to test on; by default "test", else "validation".
        crop_fraction: side of the central square kept at evaluation, relative to the shorter side.
        augmentation: of all training: "none", "shift", "crop_flip" or "inception" (see Preprocessing).
        rand_augment: RandAugment's number of operations an image, 0 for none.
        rand_augment_magnitude: how strong these are, 0 to 10.
        random_erasing: share of the images that lose a random rectangle.
        mixup, cutmix: parameter alpha of the Beta distribution that the shares of mixed images come from, up to 1, 0 for
            none; with both, each batch gets one or the other. These five concern retraining alone: in a pipeline the
            supernet, whose paths each get a part of the training, and whatever measures BN statistics leave them out.
        max_train_examples, max_test_examples: stratified random subsets, for trials.
        memory_bytes: a dataset whose decoded images take less is held in memory; a larger one is streamed.
        shuffle_buffer: encoded examples that the shuffling of a streamed TFDS dataset holds.
        check_images: decode every file of a folder once while loading, to find unreadable ones.
        download: whether TFDS may download a dataset that is not prepared yet.
        normalization: of pixels: "inception" (-1 to 1), "imagenet" (its mean and deviation), "unit" (0 to 1), "lite" (127
            subtracted, then divided by 128, as EfficientNet-Lite has it), or a mapping of `mean` and `std` in units of
            0..255, each a number or three of them, for red, green and blue.
        resizing: "bilinear" or "bicubic" interpolation, both antialiased.
        seed: of hold-outs and subsets; by default the configuration's.
    """

    source: Literal["digits", "tfds", "folder"] = "digits"
    name: Text | None = None
    directory: Text | None = None
    data_dir: Text | None = None
    image_size: Count = 32
    validation_fraction: Between = 0.1
    validation_examples: Count | None = None
    test_fraction: Between = 0.2
    test_split: Text | None = None
    crop_fraction: AboveZero = 1.0
    normalization: Normalization = "inception"
    resizing: Resizing = "bilinear"
    augmentation: Augmentation = "none"
    rand_augment: Whole = 0
    rand_augment_magnitude: Annotated[float, Ge(0), Le(10)] = 9.0
    random_erasing: Share = 0.0
    mixup: Share = 0.0
    cutmix: Share = 0.0
    seed: Whole = 0
    max_train_examples: Count | None = None
    max_test_examples: Count | None = None
    memory_bytes: Whole = 2**30
    shuffle_buffer: Count = 16384
    check_images: bool = True
    download: bool = True

    def __post_init__(self):
        if self.source == "folder" and not self.directory:
            raise InputError("data.directory: expected the folder of class folders, got none")
        if self.source == "tfds" and not (self.name or self.directory):
            raise InputError("data.name: expected a TFDS name (or data.directory a prepared folder), got none")
