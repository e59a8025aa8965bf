"""Images and labels in batches, from whatever form the caller holds them in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scarlet_tf.data.splits import Split
from scarlet_tf.errors import InputError

_BATCH_SIZE = 64


def image_batches(data, image_shape: tuple[int, ...], where: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields (float32 [B, *image_shape], integer labels [B] or None).

    `data` is a Split, an array of images, a tuple (images, labels) of arrays, or an iterable (such as a
    tf.data.Dataset) of batches in either form. InputError, which begins with `where`, names a wrong shape.
    """
    for batch in _batches(data):
        images, labels = batch if isinstance(batch, (tuple, list)) else (batch, None)
        images = np.asarray(images, np.float32)
        if images.shape[1:] != tuple(image_shape):
            expected = ", ".join(map(str, image_shape))
            raise InputError(f"{where}: expected images [B, {expected}], got {list(images.shape)}")
        labels = None if labels is None else np.asarray(labels)
        if labels is not None and labels.shape != images.shape[:1]:
            raise InputError(f"{where}: expected labels [{len(images)}], got {list(labels.shape)}")
        if len(images):
            yield images, labels


def _batches(data):
    if isinstance(data, Split):
        return data.batches(_BATCH_SIZE)
    if isinstance(data, tuple) and len(data) == 2 and hasattr(data[0], "shape"):
        starts = range(0, len(data[0]), _BATCH_SIZE)
        return [tuple(part[start : start + _BATCH_SIZE] for part in data) for start in starts]
    if hasattr(data, "shape"):
        return [data[start : start + _BATCH_SIZE] for start in range(0, len(data), _BATCH_SIZE)]
    return data
