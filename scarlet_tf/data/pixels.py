"""Preparation of pixels in TensorFlow: the functions that a Preprocessing calls, and describes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.augmentation import random_resized_crop, random_resized_crop_of_encoded, random_shift, resized
from scarlet_tf.data.decoding import decode
from scarlet_tf.data.preprocessing import Preprocessing


def prepare(how: Preprocessing, image) -> tf.Tensor:
    """Crop, resize and normalise for evaluation."""
    return normalize(how, _fit(how, rgb(image)))


def decode_and_prepare(how: Preprocessing, encoded) -> tf.Tensor:
    """Prepare an encoded image for evaluation."""
    return prepare(how, decode(encoded))


def distort(how: Preprocessing, image, seed, rows: tuple | None = None) -> tf.Tensor:
    """Crop, resize and distort for training."""
    image = rgb(image)
    if how.augmentation == "none":
        return _fit(how, image)
    if how.augmentation == "inception":
        return random_resized_crop(image, how.image_size, seed, how.resizing)
    margin = max(1, how.image_size // 8)
    return random_shift(_fit(how, image), margin, seed, how.augmentation == "crop_flip", rows)


def decode_and_distort(how: Preprocessing, encoded, seed) -> tf.Tensor:
    """Distort an encoded image for training."""
    if how.augmentation == "inception":
        return random_resized_crop_of_encoded(encoded, how.image_size, seed, how.resizing)
    return distort(how, decode(encoded), seed)


def normalize(how: Preprocessing, pixels) -> tf.Tensor:
    """Subtract the mean and divide by the deviation."""
    # Multiplied, because graph optimisation would turn a division into that, with another rounding than eagerly.
    scale = tf.constant([1 / std for std in how.std], tf.float32)
    return (pixels - tf.constant(how.mean, tf.float32)) * scale


def _fit(how: Preprocessing, image: tf.Tensor) -> tf.Tensor:
    """Central square of [..., H, W, 3] resized to [..., S, S, 3], float32 in 0..255."""
    image = _central_square(image, how.crop_fraction)
    if image.shape[-3:-1] == [how.image_size, how.image_size]:
        return tf.cast(image, tf.float32)
    return resized(image, how.image_size, how.resizing)


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
