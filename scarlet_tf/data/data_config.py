"""DataConfig: the dataset, its splits and the preparation of its images. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from scarlet_tf.errors import InputError

SOURCES = ("digits", "tfds", "folder")
# (mean, standard deviation) of red, green and blue in units of 0..255; what a network reads is (pixel - mean) / std.
STATISTICS = {
    "inception": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
}
NORMALIZATIONS = tuple(STATISTICS)
AUGMENTATIONS = ("none", "shift", "crop_flip", "inception")


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
        normalization: of pixels: "inception" (-1 to 1), "imagenet" (its mean and deviation) or "unit" (0 to 1).
        seed: of hold-outs and subsets; by default the configuration's.
    """

    source: Literal["digits", "tfds", "folder"] = "digits"
    name: str | None = None
    directory: str | None = None
    data_dir: str | None = None
    image_size: int = 32
    validation_fraction: float = 0.1
    validation_examples: int | None = None
    test_fraction: float = 0.2
    test_split: str | None = None
    crop_fraction: float = 1.0
    normalization: Literal["inception", "imagenet", "unit"] = "inception"
    augmentation: Literal["none", "shift", "crop_flip", "inception"] = "none"
    rand_augment: int = 0
    rand_augment_magnitude: float = 9.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    seed: int = 0
    max_train_examples: int | None = None
    max_test_examples: int | None = None
    memory_bytes: int = 2**30
    shuffle_buffer: int = 16384
    check_images: bool = True
    download: bool = True

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    def __post_init__(self):
        self._check_choice("source", SOURCES)
        self._check_choice("normalization", NORMALIZATIONS)
        self._check_choice("augmentation", AUGMENTATIONS)
        for key in ("name", "directory", "data_dir", "test_split"):
            value = getattr(self, key)
            if value is not None and (not isinstance(value, str) or not value):
                raise InputError(f"data.{key}: expected a non-empty string, got {value!r}")
        for key in ("image_size", "memory_bytes", "shuffle_buffer"):
            self._check_integer(key, 0 if key == "memory_bytes" else 1)
        for key in ("seed", "rand_augment"):
            self._check_integer(key, 0)
        for key in ("validation_examples", "max_train_examples", "max_test_examples"):
            self._check_integer(key, 1, optional=True)
        for key in ("validation_fraction", "test_fraction", "crop_fraction"):
            self._check_fraction(key, closed=key == "crop_fraction")
        self._check_range("rand_augment_magnitude", 10)
        for key in ("random_erasing", "mixup", "cutmix"):
            self._check_range(key, 1)
        for key in ("check_images", "download"):
            if not isinstance(getattr(self, key), bool):
                raise InputError(f"data.{key}: expected true or false, got {getattr(self, key)!r}")
        self._check_place()

    def _check_place(self) -> None:
        if self.source == "folder" and not self.directory:
            raise InputError("data.directory: expected the folder of class folders, got none")
        if self.source == "tfds" and not (self.name or self.directory):
            raise InputError("data.name: expected a TFDS name (or data.directory a prepared folder), got none")

    def _check_choice(self, key: str, allowed: tuple[str, ...]) -> None:
        if getattr(self, key) not in allowed:
            raise InputError(f"data.{key}: expected one of {list(allowed)}, got {getattr(self, key)!r}")

    def _check_integer(self, key: str, least: int, optional: bool = False) -> None:
        value = getattr(self, key)
        if optional and value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"data.{key}: expected an integer >= {least}, got {value!r}")

    def _check_range(self, key: str, most: int) -> None:
        value = getattr(self, key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= most:
            raise InputError(f"data.{key}: expected a number from 0 to {most}, got {value!r}")

    def _check_fraction(self, key: str, closed: bool) -> None:
        value = getattr(self, key)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not (0 < value < 1 or (closed and value == 1)):
            raise InputError(
                f"data.{key}: expected a number above 0 and {'up to' if closed else 'below'} 1, got {value!r}"
            )
