"""Split: part of a dataset that gives the same batches for the same seed and epoch, from any batch on."""

from __future__ import annotations

import abc
import math

import numpy as np
import tensorflow as tf

from scarlet_tf.data import stratified
from scarlet_tf.data.images import ArrayImages, Images
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.errors import InputError


class Split(abc.ABC):
    """Labelled images with their preprocessing. `labels`: int32 [num_examples]."""

    def __init__(self, labels: np.ndarray, preprocessing: Preprocessing):
        self.labels = np.asarray(labels, np.int32)
        self.preprocessing = preprocessing

    @property
    def num_examples(self) -> int:
        return len(self.labels)

    def batches(
        self,
        batch_size: int,
        *,
        training: bool = False,
        seed: int = 0,
        epoch: int = 0,
        skip_batches: int = 0,
        drop_remainder: bool | None = None,
    ) -> tf.data.Dataset:
        """One pass over the split as (float32 [B, S, S, 3], int32 [B]).

        training=False: every example, in order, as at evaluation. training=True: shuffled and augmented, a pure
        function of (seed, epoch), and without the last, incomplete batch. `skip_batches=k` gives that same
        stream from batch k on, without preparing the images before it.
        """
        drop_remainder = training if drop_remainder is None else drop_remainder
        steps = self.steps_per_epoch(batch_size, drop_remainder)
        if not 0 <= skip_batches <= steps:
            raise InputError(f"skip_batches: expected from 0 to {steps}, got {skip_batches!r}")
        for key, value in (("seed", seed), ("epoch", epoch)):
            if value < 0:
                raise InputError(f"{key}: expected an integer >= 0, got {value!r}")
        dataset = self._batches(batch_size, (seed, epoch) if training else None, skip_batches, drop_remainder)
        options = tf.data.Options()
        options.deterministic = True
        # Sharding by file would give the workers of a distributed run unequal shares.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)

    def steps_per_epoch(self, batch_size: int, drop_remainder: bool = True) -> int:
        """Batches in one pass; training drops the remainder. InputError when that leaves none."""
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise InputError(f"batch_size: expected an integer >= 1, got {batch_size!r}")
        if drop_remainder and batch_size > self.num_examples:
            raise InputError(f"batch_size: expected at most the split's {self.num_examples} images, got {batch_size}")
        return self.num_examples // batch_size if drop_remainder else math.ceil(self.num_examples / batch_size)

    def take(self, num_examples: int, seed: int = 0) -> Split:
        """A random subset of `num_examples` that keeps the shares of the classes, in the split's order."""
        return self.subset(stratified.draw(self.labels, num_examples, np.random.default_rng(seed)))

    def with_preprocessing(self, preprocessing: Preprocessing) -> Split:
        """The same images, prepared in another way (another size, no augmentation)."""
        split = self.subset(np.arange(self.num_examples))
        split.preprocessing = preprocessing
        return split

    @abc.abstractmethod
    def subset(self, indices: np.ndarray) -> Split:
        """The examples at `indices` of this split."""

    @abc.abstractmethod
    def _batches(self, batch_size: int, shuffle: tuple[int, int] | None, skip: int, drop: bool) -> tf.data.Dataset:
        """`batches` after its checks; `shuffle` is (seed, epoch) in training."""

    def _load(self, image: tf.Tensor, key: np.ndarray | None, position: tf.Tensor) -> tf.Tensor:
        """One image or one batch of them, augmented if there is a key; `position` counts within the epoch."""
        if key is None:
            return self.preprocessing.prepare(image)
        return self.preprocessing.augment(image, tf.random.fold_in(key, tf.cast(position, tf.int32)))


class IndexedSplit(Split):
    """A split whose images can be had in any order: in memory or in files."""

    def __init__(self, images: Images, indices: np.ndarray, labels: np.ndarray, preprocessing: Preprocessing):
        super().__init__(labels, preprocessing)
        self._images, self._indices = images, np.asarray(indices, np.int64)

    def subset(self, indices: np.ndarray) -> IndexedSplit:
        return IndexedSplit(self._images, self._indices[indices], self.labels[indices], self.preprocessing)

    def _batches(self, batch_size, shuffle, skip, drop):
        order = np.arange(self.num_examples)
        key = None
        if shuffle is not None:
            order = np.random.default_rng(shuffle).permutation(self.num_examples)
            key = augmentation_key(shuffle)
        order = order[skip * batch_size :]
        dataset = tf.data.Dataset.from_tensor_slices((self._indices[order], self.labels[order]))
        images = self._images
        if isinstance(images, ArrayImages) and self.preprocessing.augments_batches:
            dataset = dataset.batch(batch_size, drop_remainder=drop).enumerate(skip)
            return dataset.map(
                lambda number, batch: (self._load(images.gather(batch[0]), key, number), batch[1]), tf.data.AUTOTUNE
            )
        dataset = dataset.enumerate(skip * batch_size).map(
            lambda number, example: (self._load(images.load(example[0]), key, number), example[1]), tf.data.AUTOTUNE
        )
        return dataset.batch(batch_size, drop_remainder=drop)


def augmentation_key(shuffle: tuple[int, int]) -> np.ndarray:
    """The random seed [2] of an epoch's augmentation, for (seed, epoch); independent of the order's."""
    return np.random.SeedSequence((*shuffle, 1)).generate_state(2).view(np.int32)
