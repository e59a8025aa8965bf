"""What training and evaluation read from: the package's own splits, tf.data datasets or plain arrays.

A split offers `num_examples`, `steps_per_epoch(batch_size)` and `batches(batch_size, training, seed, epoch,
skip_batches, drop_remainder)`, a tf.data.Dataset of (images float32 [B, H, W, C], labels int32 [B]).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from scarlet_tf.errors import InputError


def as_split(data):
    """`data` as a split: a split itself, a batched and finite tf.data.Dataset, or a pair (images, labels)."""
    if hasattr(data, "batches"):
        return data
    if isinstance(data, tf.data.Dataset):
        return BatchedDataset(data)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return ArraySplit(*data)
    raise InputError(
        f"data: expected a split, a batched tf.data.Dataset or (images, labels), got {type(data).__name__}"
    )


class BatchedDataset:
    """A tf.data.Dataset that is batched, shuffled and augmented already; batch sizes asked for are not applied.

    Resuming is exact only where iterating the dataset again gives the same batches again.
    """

    def __init__(self, dataset: tf.data.Dataset):
        self.dataset = dataset
        self._num_batches = int(dataset.cardinality())
        if self._num_batches == tf.data.INFINITE_CARDINALITY:
            raise InputError("data: expected a finite tf.data.Dataset, got one that repeats for ever")
        if self._num_batches == tf.data.UNKNOWN_CARDINALITY:
            self._num_batches = sum(1 for _ in dataset)
        if self._num_batches == 0:
            raise InputError("data: expected at least one batch, got an empty tf.data.Dataset")

    @property
    def num_examples(self) -> int:
        """Counted by iterating."""
        return sum(int(tf.shape(labels)[0]) for _, labels in self.dataset)

    def steps_per_epoch(self, batch_size: int) -> int:
        del batch_size
        return self._num_batches

    def batches(self, batch_size, *, training=False, seed=0, epoch=0, skip_batches=0, drop_remainder=None):
        del batch_size, training, seed, epoch, drop_remainder
        return self.dataset.skip(skip_batches)


class ArraySplit:
    """Images [N, H, W, C] and labels [N] in memory; shuffled for training, never augmented."""

    def __init__(self, images, labels):
        self.images = np.asarray(images, np.float32)
        self.labels = np.asarray(labels, np.int32).reshape(-1)
        if self.images.ndim != 4 or len(self.images) != len(self.labels) or len(self.labels) == 0:
            raise InputError(
                f"data: expected images [N, H, W, C] and N >= 1 labels, got {self.images.shape} and {self.labels.shape}"
            )

    @property
    def num_examples(self) -> int:
        return len(self.labels)

    def steps_per_epoch(self, batch_size: int) -> int:
        return self.num_examples // batch_size

    def batches(self, batch_size, *, training=False, seed=0, epoch=0, skip_batches=0, drop_remainder=None):
        order = np.arange(self.num_examples)
        if training:
            np.random.default_rng((seed, epoch)).shuffle(order)
        drop = training if drop_remainder is None else drop_remainder
        order = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=drop).skip(skip_batches)
        images, labels = tf.constant(self.images), tf.constant(self.labels)
        return order.map(lambda i: (tf.gather(images, i), tf.gather(labels, i)))
