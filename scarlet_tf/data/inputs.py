"""Inputs of training and evaluation: the package's own splits, tf.data datasets or plain arrays.

A split offers `num_examples`, `steps_per_epoch(batch_size)` and `batches(batch_size, training, seed, epoch,
skip_batches, drop_remainder, shard)`, a tf.data.Dataset of (images float32 [B, H, W, C], labels int32 [B]). Labels may
also be shares float32 [B, num_classes], as mixing makes them. `shard=(index, count)` gives one of several workers its
rows of every batch; see scarlet_tf.data.splits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.splits import Pass, Split


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
    _check_shares(data, labels, num_classes)
    if labels.ndim == 2:
        return data
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


def plain(split):
    """`split` without its policy of strong distortions and mixing, if it has one."""
    return split.plain() if hasattr(split, "plain") else split


def _check_shares(data, labels: np.ndarray, num_classes: int | None) -> None:
    """Shares of classes, present or made by mixing, must be as many as the network has classes."""
    policy = getattr(data, "policy", None)
    found = labels.shape[1] if labels.ndim == 2 else policy.num_classes if policy and policy.mixes else None
    if num_classes is not None and found not in (None, num_classes):
        raise InputError(f"data: expected labels with shares of {num_classes} classes, got {found}")


def image_shape(split) -> tuple[int, int, int]:
    """(height, width, channels) of a split's first image."""
    for images, _ in split.batches(1).take(1):
        return tuple(images.shape[1:])
    raise InputError("data: expected at least one image, got none")


def count_classes(*splits) -> int:
    """One more than the greatest label of the splits; InputError where labels are not known before they are read.

    The first split is trained on: InputError, too, where it has no example of a class below, as with labels 1 to 3.
    """
    if not all(hasattr(split, "labels") for split in splits):
        raise InputError("num_classes: needed with a tf.data.Dataset, which does not tell its classes")
    classes = max(s.labels.shape[1] if np.ndim(s.labels) == 2 else 1 + int(np.max(s.labels)) for s in splits)
    if np.ndim(splits[0].labels) == 1:
        found = np.unique(splits[0].labels)
        if len(missing := np.setdiff1d(np.arange(classes), found)) or found[0] < 0:
            raise InputError(
                f"data: expected training labels 0 to {classes - 1} without gaps, got {_few(found)}, none of {_few(missing)};"
                " renumber them (numpy.unique(labels, return_inverse=True)), or give num_classes where classes may have no"
                " example"
            )
    return classes


def _few(labels: np.ndarray) -> str:
    return ", ".join(str(label) for label in labels[:5]) + (", ..." if len(labels) > 5 else "")


class BatchedDataset:
    """A finite tf.data.Dataset of batches (images [B, H, W, C], labels), shuffled by whoever made it.

    Labels are class numbers [B] or [B, 1], or shares float [B, num_classes]. The batches are regrouped to the size
    asked for. Resuming is exact only where iterating the dataset again gives the same batches again. A worker's shard
    is cut out of batches that the dataset has prepared whole.
    """

    def __init__(self, dataset: tf.data.Dataset, num_classes: int | None = None):
        _check_elements(dataset.element_spec, num_classes)
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

    def batches(
        self, batch_size, *, training=False, seed=0, epoch=0, skip_batches=0, drop_remainder=None, shard=(0, 1)
    ):
        del seed, epoch
        drop = training if drop_remainder is None else drop_remainder
        dataset = self.dataset.map(self._plain).rebatch(batch_size, drop_remainder=drop).skip(skip_batches)
        plan = Pass(0, batch_size, shard=shard)
        if plan.rows == batch_size:
            return dataset
        rows = slice(plan.first_row, plan.first_row + plan.rows)
        dataset = dataset.map(lambda *pair: tuple(part[rows] for part in pair))
        return dataset if drop else dataset.filter(lambda images, _: tf.shape(images)[0] > 0)

    def _plain(self, images, labels):
        if _are_shares(labels):
            return tf.cast(images, tf.float32), tf.cast(labels, tf.float32)
        labels = tf.reshape(tf.cast(labels, tf.int32), [-1])
        if self.num_classes is not None:
            expected = f"data: expected labels from 0 to {self.num_classes - 1}"
            tf.debugging.assert_non_negative(labels, expected)
            tf.debugging.assert_less(labels, self.num_classes, expected)
        return tf.cast(images, tf.float32), labels


def _are_shares(labels) -> bool:
    """True if labels, or their specification, are shares [B, num_classes] rather than class numbers."""
    return labels.shape.rank == 2 and labels.shape[1] not in (None, 1) and labels.dtype.is_floating


def _check_elements(spec, num_classes: int | None) -> None:
    pair = isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(part, tf.TensorSpec) for part in spec)
    fits = pair and spec[0].shape.rank in (None, 4)
    if fits and _are_shares(spec[1]):
        if num_classes not in (None, spec[1].shape[1]):
            raise InputError(f"data: expected shares of {num_classes} classes as labels, got {spec[1]}")
        return
    if not (fits and (spec[1].shape.rank in (None, 1) or spec[1].shape[1:] == [1])):
        raise InputError(
            f"data: expected a tf.data.Dataset of batches (images [B, H, W, C], class numbers [B] or shares [B,"
            f" num_classes]), got {spec}"
        )


class ArraySplit:
    """Images [N, H, W, C] in memory with class numbers [N] or shares float [N, num_classes]; shuffled for training only."""

    def __init__(self, images, labels):
        self.images = np.asarray(images, np.float32)
        labels = np.asarray(labels)
        are_shares = labels.ndim == 2 and labels.shape[1] > 1 and np.issubdtype(labels.dtype, np.floating)
        self.labels = labels.astype(np.float32) if are_shares else labels.astype(np.int32).reshape(-1)
        if self.images.ndim != 4 or len(self.images) != len(self.labels) or len(self.labels) == 0:
            raise InputError(
                f"data: expected images [N, H, W, C] and N >= 1 labels, got {self.images.shape} and {self.labels.shape}"
            )

    @property
    def num_examples(self) -> int:
        return len(self.labels)

    def steps_per_epoch(self, batch_size: int) -> int:
        return self.num_examples // batch_size

    def batches(
        self, batch_size, *, training=False, seed=0, epoch=0, skip_batches=0, drop_remainder=None, shard=(0, 1)
    ):
        order = np.arange(self.num_examples)
        if training:
            np.random.default_rng((seed, epoch)).shuffle(order)
        drop = training if drop_remainder is None else drop_remainder
        plan = Pass(self.num_examples, batch_size, skip=skip_batches, drop=drop, shard=shard)
        order = tf.data.Dataset.from_tensor_slices(order[plan.positions()]).batch(plan.rows, drop_remainder=drop)
        images, labels = tf.constant(self.images), tf.constant(self.labels)
        return order.map(lambda i: (tf.gather(images, i), tf.gather(labels, i)))


# -- Images and labels in batches, from whatever form the caller holds them in -------------------------------------


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
