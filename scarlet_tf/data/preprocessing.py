"""Preparation of a network's input from pixels: the one path that training, evaluation and exported files share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import AboveZero, Count, as_settings, to_plain, validated
from scarlet_tf.data.augmentation import random_resized_crop, random_resized_crop_of_encoded, random_shift, resized
from scarlet_tf.data.data_config import STATISTICS, Augmentation, Normalization, Resizing, Statistics
from scarlet_tf.data.decoding import decode


@validated("preprocessing")
@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The preparation of images for a network.

    At evaluation: the central square whose side is `crop_fraction` of the shorter side (0.875 is usual on ImageNet), resized
    to `image_size` pixels by antialiased interpolation, then normalised. `resizing`: "bilinear", or "bicubic", by Keys'
    kernel with a = -0.5; where that overshoots, values are cut to 0..255, as Pillow does. `normalization`: "inception" to
    [-1, 1], "imagenet" by that dataset's mean and deviation, "unit" to [0, 1], "lite" to (x - 127) / 128, or a mapping of
    "mean" and "std" in units of 0..255, each a number or three.

    In training, `augmentation` comes before the normalisation: "none"; "shift" (pad an eighth of the side with
    black, crop at random: no flip, for digits); "crop_flip" (the same, then a horizontal flip; 4 pixels at 32, as
    is usual on CIFAR); "inception" (crop of random area and aspect ratio instead of the central one, flip,
    colour jitter).
    """

    image_size: Count
    crop_fraction: AboveZero = 1.0
    normalization: Normalization = "inception"
    augmentation: Augmentation = "none"
    resizing: Resizing = "bilinear"

    @property
    def mean(self) -> tuple[float, float, float]:
        """Per channel, in units of 0..255."""
        return self._statistics[0]

    @property
    def std(self) -> tuple[float, float, float]:
        """Per channel, in units of 0..255."""
        return self._statistics[1]

    @property
    def _statistics(self) -> tuple:
        given = self.normalization
        return (given.mean, given.std) if isinstance(given, Statistics) else STATISTICS[given]

    @property
    def augments_batches(self) -> bool:
        """True if `augment` takes whole batches at once without a loop over their images."""
        return self.augmentation != "inception"

    def prepare(self, image) -> tf.Tensor:
        """Evaluation: uint8 [H, W, C] or [B, H, W, C] to float32 [..., S, S, 3]; C is 1, 2, 3 or 4, alpha last."""
        return self.normalize(self._fit(rgb(image)))

    def decode_and_prepare(self, encoded) -> tf.Tensor:
        """Evaluation from a scalar string of JPEG or PNG bytes to float32 [S, S, 3]."""
        return self.prepare(decode(encoded))

    def distort(self, image, seed, rows: tuple | None = None) -> tf.Tensor:
        """Training: like `prepare`, but distorted at random and not yet normalised: float32 in 0..255.

        A pure function of the image(s) and `seed` [2].

        rows: (first, total) of a batch that is part of a larger one; the images are then distorted as they would be
        in that one. Only where `augments_batches`.
        """
        image = rgb(image)
        if self.augmentation == "none":
            return self._fit(image)
        if self.augmentation == "inception":
            return random_resized_crop(image, self.image_size, seed, self.resizing)
        margin = max(1, self.image_size // 8)
        return random_shift(self._fit(image), margin, seed, self.augmentation == "crop_flip", rows)

    def decode_and_distort(self, encoded, seed) -> tf.Tensor:
        """`distort` of one encoded image, a scalar string; of a JPEG file only what the crop needs is decoded."""
        if self.augmentation == "inception":
            return random_resized_crop_of_encoded(encoded, self.image_size, seed, self.resizing)
        return self.distort(decode(encoded), seed)

    def normalize(self, pixels) -> tf.Tensor:
        """(pixels - mean) / std, for float32 pixels in 0..255."""
        # Multiplied, because graph optimisation would turn a division into that, with another rounding than eagerly.
        scale = tf.constant([1 / std for std in self.std], tf.float32)
        return (pixels - tf.constant(self.mean, tf.float32)) * scale

    def to_dict(self) -> dict:
        """Plain JSON types."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, data: Mapping) -> Preprocessing:
        """Inverse of `to_dict`; InputError for other keys and values."""
        return as_settings(cls, data)

    def _fit(self, image: tf.Tensor) -> tf.Tensor:
        """Central square of [..., H, W, 3] resized to [..., S, S, 3], float32 in 0..255."""
        image = _central_square(image, self.crop_fraction)
        if image.shape[-3:-1] == [self.image_size, self.image_size]:
            return tf.cast(image, tf.float32)
        return resized(image, self.image_size, self.resizing)


def rgb(image) -> tf.Tensor:
    """[..., H, W, C] as [..., H, W, 3]: grey is repeated, an alpha channel dropped. C must be known statically."""
    image = tf.convert_to_tensor(image)
    channels = image.shape[-1] if image.shape.rank in (3, 4) else None
    if channels not in (1, 2, 3, 4):
        raise InputError(f"image: expected [H, W, C] or [B, H, W, C] with 1 to 4 channels, got shape {image.shape}")
    if channels == 3:
        return image
    return tf.repeat(image[..., :1], 3, axis=-1) if channels < 3 else image[..., :3]


def _central_square(image: tf.Tensor, fraction: float) -> tf.Tensor:
    height, width = image.shape[-3:-1]
    if height is None or width is None:
        size = tf.shape(image)[-3:-1]
        side = tf.maximum(tf.round(fraction * tf.cast(tf.reduce_min(size), tf.float32)), 1.0)
        side = tf.cast(side, tf.int32)
        top, left = tf.unstack((size - side) // 2)
    else:
        # float32 and rounding to even, as in the branch above, so that both crop alike.
        side = max(1, int(np.round(np.float32(fraction) * np.float32(min(height, width)))))
        top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side, :]
