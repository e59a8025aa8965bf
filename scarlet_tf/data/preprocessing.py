"""Preparation of a network's input from pixels: the one path that training, evaluation and exported files share.

Networks of other frameworks have a Preprocessing, too, so TensorFlow is imported when the first image is prepared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scarlet_tf.base.settings import AboveZero, Count, as_settings, to_plain, validated
from scarlet_tf.data.data_config import STATISTICS, Augmentation, Normalization, Resizing, Statistics

if TYPE_CHECKING:
    import tensorflow as tf


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
        return _pixels().prepare(self, image)

    def decode_and_prepare(self, encoded) -> tf.Tensor:
        """Evaluation from a scalar string of JPEG or PNG bytes to float32 [S, S, 3]."""
        return _pixels().decode_and_prepare(self, encoded)

    def distort(self, image, seed, rows: tuple | None = None) -> tf.Tensor:
        """Training: like `prepare`, but distorted at random and not yet normalised: float32 in 0..255.

        A pure function of the image(s) and `seed` [2].

        rows: (first, total) of a batch that is part of a larger one; the images are then distorted as they would be
        in that one. Only where `augments_batches`.
        """
        return _pixels().distort(self, image, seed, rows)

    def decode_and_distort(self, encoded, seed) -> tf.Tensor:
        """`distort` of one encoded image, a scalar string; of a JPEG file only what the crop needs is decoded."""
        return _pixels().decode_and_distort(self, encoded, seed)

    def normalize(self, pixels) -> tf.Tensor:
        """(pixels - mean) / std, for float32 pixels in 0..255."""
        return _pixels().normalize(self, pixels)

    def to_dict(self) -> dict:
        """Plain JSON types."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, data: Mapping) -> Preprocessing:
        """Inverse of `to_dict`; InputError for other keys and values."""
        return as_settings(cls, data)


def _pixels():
    from scarlet_tf.data import pixels

    return pixels
