"""Storage of a dataset's pixels: one array, an array of many sizes, or files."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.decoding import decode
from scarlet_tf.data.image_files import LARGEST_SKIPPED_SHARE

logger = logging.getLogger("scarlet_tf")


class ArrayImages:
    """Images of one size in memory, uint8 [N, H, W, C]."""

    def __init__(self, images: np.ndarray):
        # Always on the CPU: tf.data would otherwise copy all of it back from a GPU.
        with tf.device("CPU"):
            self._images = tf.constant(images, tf.uint8)

    def gather(self, indices: tf.Tensor) -> tf.Tensor:
        """uint8 [B, H, W, C] for indices [B]."""
        return tf.gather(self._images, indices)

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """uint8 [H, W, C] of one image."""
        return self._images[index]


class RaggedImages:
    """RGB images of many sizes in memory, one after the other."""

    def __init__(self, images: Sequence[np.ndarray]):
        sizes = [image.size for image in images]
        with tf.device("CPU"):
            self._pixels = tf.constant(np.concatenate([image.reshape(-1) for image in images]), tf.uint8)
            self._starts = tf.constant(np.cumsum([0, *sizes]), tf.int64)
            self._shapes = tf.constant([image.shape for image in images], tf.int32)

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """uint8 [H, W, 3] of one image."""
        pixels = self._pixels[self._starts[index] : self._starts[index + 1]]
        return tf.ensure_shape(tf.reshape(pixels, self._shapes[index]), [None, None, 3])


class Losses:
    """Images that failed in the middle of a training: each is named once, and too many of them are an error.

    Args:
        num_images: of the split as loaded.
        describe: `describe(index)` says which image it is and what is wrong with it.
        num_skipped: images of the same split that were left out before, which count among those that may be lost.
    """

    def __init__(self, num_images: int, describe: Callable[[int], str], num_skipped: int = 0):
        self._describe, self._num_images, self._num_skipped = describe, num_images + num_skipped, num_skipped
        self._lost: set[int] = set()

    @property
    def most(self) -> int:
        """Number of images that may be lost in the middle of a training."""
        return max(int(LARGEST_SKIPPED_SHARE * self._num_images) - self._num_skipped, 0)

    def add(self, index: int) -> None:
        """Record an image that could not be read; raise InputError once there are more than `most`."""
        if index in self._lost:
            return
        self._lost.add(index)
        text = self._describe(index)
        if len(self._lost) > self.most:
            raise InputError(
                f"{text}; with {len(self._lost) + self._num_skipped} of {self._num_images} images these are more than"
                f" {LARGEST_SKIPPED_SHARE:.0%} that cannot be read; restore or remove them"
            )
        logger.warning("%s; it is skipped, and another image takes its place", text)


class FileImages:
    """Encoded images in files, read and decoded when they are asked for; `losses` counts those that fail.

    num_skipped: files of the same folder that were left out before.
    """

    def __init__(self, paths: Sequence[str], num_skipped: int = 0):
        self._names = list(paths)
        self.losses = Losses(len(self._names), self._describe, num_skipped)
        with tf.device("CPU"):
            self._paths = tf.constant(self._names, tf.string)

    def _describe(self, index: int) -> str:
        return f"{self._names[index]}: the image {self._reason(index)}"

    def _reason(self, index: int) -> str:
        try:
            decode(tf.constant(pathlib.Path(self._names[index]).read_bytes()))
        except OSError as error:
            return f"could not be read: {error.strerror or error}"
        except tf.errors.OpError:
            return "cannot be decoded any more"
        return "could not be read for a while"

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """uint8 [H, W, 3] of one image."""
        return decode(self.read(index))

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """The bytes of one image, a scalar string."""
        return tf.io.read_file(self._paths[index])


Images = ArrayImages | RaggedImages | FileImages


def in_memory(images: Sequence[np.ndarray]) -> ArrayImages | RaggedImages:
    """Hold decoded images in memory, as one array if all have the same size."""
    if len({image.shape for image in images}) == 1:
        return ArrayImages(np.stack(images))
    return RaggedImages(images)
