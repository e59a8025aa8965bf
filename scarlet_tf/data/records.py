"""Splits streamed from TFRecord shards, for datasets that do not fit into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from scarlet_tf.data.decoding import decode
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import Split, augmentation_key

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

    def subset(self, indices: np.ndarray) -> RecordSplit:
        indices = np.sort(indices)
        return RecordSplit(self._shards, self._numbers[indices], self.labels[indices], self.preprocessing)

    def _batches(self, batch_size, shuffle, skip, drop):
        mask = np.zeros(self._shards.num_records, bool)
        mask[self._numbers] = True
        wanted = tf.constant(mask)
        dataset = self._shards.in_order() if shuffle is None else self._shards.shuffled(shuffle)
        dataset = dataset.filter(lambda number, _: wanted[number]).map(lambda _, record: record)
        key = None
        if shuffle is not None:
            key = augmentation_key(shuffle)
            dataset = dataset.shuffle(self._shards.shuffle_buffer, int(key[0]), reshuffle_each_iteration=False)
        # Skipped before anything is parsed or decoded: resuming costs reading, not decoding.
        dataset = dataset.enumerate().skip(skip * batch_size)
        dataset = dataset.map(lambda number, record: self._example(record, key, number), tf.data.AUTOTUNE)
        return dataset.batch(batch_size, drop_remainder=drop)

    def _example(self, record, key, number):
        encoded, label = self._shards.parse(record)
        return self._load(decode(encoded), key, number), tf.cast(label, tf.int32)
