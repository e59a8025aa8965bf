"""What training and evaluation read from: the package's own splits, tf.data datasets or plain arrays.

A split offers `num_examples`, `steps_per_epoch(batch_size)` and `batches(batch_size, training, seed, epoch,
skip_batches, drop_remainder)`, a tf.data.Dataset of (images float32 [B, H, W, C], labels int32 [B]).
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from scarlet_tf.errors import InputError


def as_split(data, num_classes: int | None = None):
    """`data` as a split: a split itself, a batched and finite tf.data.Dataset, or a pair (images, labels).

    With `num_classes`, labels outside 0 .. num_classes - 1 are refused: InputError, or for a tf.data.Dataset, whose
    labels are not known before, tf.errors.InvalidArgumentError from the batch that holds one.
    """
    if isinstance(data, tf.data.Dataset):
        return BatchedDataset(data, num_classes)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        data = ArraySplit(*data)
    if not hasattr(data, "batches"):
        raise InputError(
            f"data: expected a split, a batched tf.data.Dataset or (images, labels), got {type(data).__name__}"
        )
    labels = np.asarray(getattr(data, "labels", ()))
    if num_classes is not None and labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise InputError(f"data: expected labels from 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}")
    return data


def training_batches(split, batch_size: int, seed: int, epoch: int, skip_batches: int, shard: tuple[int, int]):
    """A worker's slices of the global training batches of an epoch, from batch `skip_batches` on."""
    # Only workers ask for shards, so that a split of the user's own need not know of them.
    shards = {} if shard == (0, 1) else {"shard": shard}
    return split.batches(
        batch_size, training=True, seed=seed, epoch=epoch, skip_batches=skip_batches, drop_remainder=True, **shards
    )


def image_shape(split) -> tuple[int, int, int]:
    """(height, width, channels) of a split's first image."""
    for images, _ in split.batches(1).take(1):
        return tuple(images.shape[1:])
    raise InputError("data: expected at least one image, got none")


def count_classes(*splits) -> int:
    """One more than the greatest label of the splits; InputError where labels are not known before they are read."""
    if not all(hasattr(split, "labels") for split in splits):
        raise InputError("num_classes: needed with a tf.data.Dataset, which does not tell its classes")
    return 1 + max(int(np.max(split.labels)) for split in splits)


class BatchedDataset:
    """A finite tf.data.Dataset of batches (images [B, H, W, C], labels [B] or [B, 1]), shuffled by whoever made it.

    Its batches are regrouped to the size asked for. Resuming is exact only where iterating the dataset again gives the
    same batches again.
    """

    def __init__(self, dataset: tf.data.Dataset, num_classes: int | None = None):
        _check_elements(dataset.element_spec)
        if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise InputError("data: expected a finite tf.data.Dataset, got one that repeats for ever")
        self.dataset = dataset
        self.num_classes = num_classes

    @functools.cached_property
    def num_examples(self) -> int:
        """Counted by iterating once, unless the dataset says how many batches of one size it holds."""
        size, count = self.dataset.element_spec[1].shape[:1], int(self.dataset.cardinality())
        known = size.rank == 1 and size[0] is not None and count >= 0
        found = count * size[0] if known else sum(int(tf.shape(labels)[0]) for _, labels in self.dataset)
        if not found:
            raise InputError("data: expected at least one image, got an empty tf.data.Dataset")
        return found

    def steps_per_epoch(self, batch_size: int) -> int:
        return self.num_examples // batch_size

    def batches(self, batch_size, *, training=False, seed=0, epoch=0, skip_batches=0, drop_remainder=None):
        del seed, epoch
        drop = training if drop_remainder is None else drop_remainder
        return self.dataset.map(self._plain).rebatch(batch_size, drop_remainder=drop).skip(skip_batches)

    def _plain(self, images, labels):
        labels = tf.reshape(tf.cast(labels, tf.int32), [-1])
        if self.num_classes is not None:
            expected = f"data: expected labels from 0 to {self.num_classes - 1}"
            tf.debugging.assert_non_negative(labels, expected)
            tf.debugging.assert_less(labels, self.num_classes, expected)
        return tf.cast(images, tf.float32), labels


def _check_elements(spec) -> None:
    pair = isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(part, tf.TensorSpec) for part in spec)
    fits = pair and spec[0].shape.rank in (None, 4)
    if not (fits and (spec[1].shape.rank in (None, 1) or spec[1].shape[1:] == [1])):
        raise InputError(
            f"data: expected a tf.data.Dataset of batches (images [B, H, W, C], class numbers [B]), got {spec}"
        )


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
