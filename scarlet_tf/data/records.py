"""Splits streamed from TFRecord shards, for datasets that do not fit into memory."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from scarlet_tf.data.augmentation import pass_key
from scarlet_tf.data.images import Losses
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import Pass, Preparation, Split, whole_batches

_SHARDS_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class Shards:
    """TFRecord files of one split. `parse` turns a record into (encoded image, label), both scalars.

    `losses` counts the records that cannot be decoded in the middle of a training.
    """

    paths: Sequence[str]
    lengths: Sequence[int]
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    shuffle_buffer: int

    @functools.cached_property
    def losses(self) -> Losses:
        return Losses(self.num_records, lambda number: f"{self.describe(number)}: the image cannot be decoded")

    def describe(self, number: int) -> str:
        """Such as "blobs-train.tfrecord-00001-of-00003, record 7", counted from 0 within the file."""
        ends = np.cumsum(self.lengths)
        shard = int(np.searchsorted(ends, number, side="right"))
        return f"{pathlib.Path(self.paths[shard]).name}, record {number - int(ends[shard]) + self.lengths[shard]}"

    @property
    def num_records(self) -> int:
        return int(sum(self.lengths))

    def in_order(self) -> tf.data.Dataset:
        """All records in the files' order, as (record number, record)."""
        return tf.data.TFRecordDataset(list(self.paths)).enumerate()

    def shuffled(self, seeds: tuple[int, int], read: bool = True) -> tf.data.Dataset:
        """The same records with the shards in random order, several of them interleaved; unless `read`, empty ones."""
        order = np.random.default_rng(seeds).permutation(len(self.paths))
        starts = np.cumsum([0, *self.lengths]).astype(np.int64)
        shards = tf.data.Dataset.from_tensor_slices(
            (np.asarray(self.paths)[order], starts[:-1][order], starts[1:][order])
        )

        def records(path, start, end):
            if read:
                return tf.data.TFRecordDataset(path).enumerate(start)
            return tf.data.Dataset.range(start, end).map(_empty)

        return shards.interleave(
            records,
            cycle_length=min(_SHARDS_AT_ONCE, len(self.paths)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )


class RecordSplit(Split):
    """The records of `shards` whose numbers are in `numbers` (sorted)."""

    def __init__(self, shards: Shards, numbers: np.ndarray, labels: np.ndarray, preprocessing: Preprocessing):
        super().__init__(labels, preprocessing)
        self._shards, self._numbers = shards, np.asarray(numbers, np.int64)

    def _subset(self, indices: np.ndarray) -> RecordSplit:
        indices = np.sort(indices)
        return RecordSplit(self._shards, self._numbers[indices], self.labels[indices], self.preprocessing)

    def _batches(self, plan: Pass, preparation: Preparation) -> tf.data.Dataset:
        count = len(plan.positions())
        spare = min(self._shards.losses.most, count)
        records = self._pass(plan).enumerate()
        # In the files' order, so that a shuffled stream is not restarted for them.
        wanted = self._wanted(self._shards.in_order()).take(spare).enumerate()
        spares = wanted.map(lambda i, record: (count + i, (plan.num_examples + i, record)))

        def example(number, positioned):
            position, (_, record) = positioned
            encoded, label = self._shards.parse(record)
            return number, preparation.encoded(encoded, position), tf.cast(label, tf.int32)

        examples = records.concatenate(spares).map(example, tf.data.AUTOTUNE)

        @functools.cache
        def numbers() -> list[int]:
            """Record numbers of the pass, found without reading a record."""
            own = [int(number) for _, (number, _) in self._pass(plan, read=False).as_numpy_iterator()]
            return own + self._numbers[:spare].tolist()

        return whole_batches(examples, count, spare, plan, lambda number: self._shards.losses.add(numbers()[number]))

    def _pass(self, plan: Pass, read: bool = True) -> tf.data.Dataset:
        """(position, (number, record)) of the worker's records, in the order of the pass."""
        if plan.shuffle is None:
            records = self._shards.in_order() if read else tf.data.Dataset.range(self._shards.num_records).map(_empty)
        else:
            records = self._shards.shuffled(plan.shuffle, read)
        dataset = self._wanted(records)
        if plan.shuffle is not None:
            seed = int(pass_key(plan.shuffle, 1)[0])
            dataset = dataset.shuffle(self._shards.shuffle_buffer, seed, reshuffle_each_iteration=False)
        # Left out before anything is parsed or decoded: resuming and other workers' rows cost reading, not decoding.
        skipped = dataset.enumerate().skip(plan.skip * plan.batch_size)
        return skipped.filter(lambda position, _: plan.holds(position))

    def _wanted(self, records: tf.data.Dataset) -> tf.data.Dataset:
        mask = np.zeros(self._shards.num_records, bool)
        mask[self._numbers] = True
        wanted = tf.constant(mask)
        return records.filter(lambda number, _: wanted[number])


def _empty(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return number, tf.constant("")
