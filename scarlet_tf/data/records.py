"""Splits streamed from TFRecord shards, for datasets that do not fit into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from scarlet_tf.data.passes import Pass
from scarlet_tf.data.preparation import Preparation
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.seeds import pass_key
from scarlet_tf.data.splits import Split

_SHARDS_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class Shards:
    """TFRecord files of one split. `parse` turns a record into (encoded image, label), both scalars."""

    paths: Sequence[str]
    lengths: Sequence[int]
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    shuffle_buffer: int

    @property
    def num_records(self) -> int:
        return int(sum(self.lengths))

    def in_order(self) -> tf.data.Dataset:
        """All records in the files' order, as (record's number, record)."""
        return tf.data.TFRecordDataset(list(self.paths)).enumerate()

    def shuffled(self, seeds: tuple[int, int]) -> tf.data.Dataset:
        """The same records with the shards in random order, several of them interleaved."""
        order = np.random.default_rng(seeds).permutation(len(self.paths))
        starts = np.cumsum([0, *self.lengths])[:-1].astype(np.int64)
        shards = tf.data.Dataset.from_tensor_slices((np.asarray(self.paths)[order], starts[order]))
        return shards.interleave(
            lambda path, start: tf.data.TFRecordDataset(path).enumerate(start),
            cycle_length=min(_SHARDS_AT_ONCE, len(self.paths)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )


class RecordSplit(Split):
    """Those records of `shards` whose numbers stand in `numbers` (sorted)."""

    def __init__(self, shards: Shards, numbers: np.ndarray, labels: np.ndarray, preprocessing: Preprocessing):
        super().__init__(labels, preprocessing)
        self._shards, self._numbers = shards, np.asarray(numbers, np.int64)

    def _subset(self, indices: np.ndarray) -> RecordSplit:
        indices = np.sort(indices)
        return RecordSplit(self._shards, self._numbers[indices], self.labels[indices], self.preprocessing)

    def _batches(self, plan: Pass, preparation: Preparation) -> tf.data.Dataset:
        mask = np.zeros(self._shards.num_records, bool)
        mask[self._numbers] = True
        wanted = tf.constant(mask)
        dataset = self._shards.in_order() if plan.shuffle is None else self._shards.shuffled(plan.shuffle)
        dataset = dataset.filter(lambda number, _: wanted[number]).map(lambda _, record: record)
        if plan.shuffle is not None:
            seed = int(pass_key(plan.shuffle, 1)[0])
            dataset = dataset.shuffle(self._shards.shuffle_buffer, seed, reshuffle_each_iteration=False)
        # Left out before anything is parsed or decoded: resuming and other workers' rows cost reading, not decoding.
        dataset = dataset.enumerate().skip(plan.skip * plan.batch_size).filter(lambda number, _: plan.holds(number))

        def example(number, record):
            encoded, label = self._shards.parse(record)
            return preparation.encoded(encoded, number), tf.cast(label, tf.int32)

        return dataset.map(example, tf.data.AUTOTUNE).batch(plan.rows, drop_remainder=plan.drop)
