"""Where the pixels of a dataset are kept: one array, an array of many sizes, or files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from scarlet_tf.data.decoding import decode


class ArrayImages:
    """Images of one size in memory, uint8 [N, H, W, C]."""

    def __init__(self, images: np.ndarray):
        # On the CPU whatever the machine has: tf.data would otherwise copy all of it back from the GPU.
        with tf.device("CPU"):
            self._images = tf.constant(images, tf.uint8)

    def gather(self, indices: tf.Tensor) -> tf.Tensor:
        """uint8 [B, H, W, C] for indices [B]."""
        return tf.gather(self._images, indices)

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """uint8 [H, W, C] of one image."""
        return self._images[index]


class RaggedImages:
    """RGB images of many sizes in memory, one behind the other."""

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


class FileImages:
    """Encoded images in files, read and decoded when they are asked for."""

    def __init__(self, paths: Sequence[str]):
        with tf.device("CPU"):
            self._paths = tf.constant(list(paths), tf.string)

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """uint8 [H, W, 3] of one image."""
        return decode(self.read(index))

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """The bytes of one image, a scalar string."""
        return tf.io.read_file(self._paths[index])


Images = ArrayImages | RaggedImages | FileImages


def in_memory(images: Sequence[np.ndarray]) -> ArrayImages | RaggedImages:
    """Holds decoded images, as one array where all have the same size."""
    if len({image.shape for image in images}) == 1:
        return ArrayImages(np.stack(images))
    return RaggedImages(images)
