"""One stream of batches out of two splits: training images for weight steps, held-out ones for importance steps."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from scarlet_tf.errors import InputError
from scarlet_tf.evaluation.inputs import training_batches
from scarlet_tf.search.betanas.phases import Phases


class PhasedBatches:
    """`batches(epoch, skip_batches, shard)` for the training loop: each step's batch comes from its phase's split.

    Each split is passed over again and again, shuffled anew; where a pass stands depends on the number of the step alone.
    Raises InputError for splits with fewer images than a batch, or with labels of different kinds.
    """

    def __init__(self, train, held_out, phases: Phases, batch_size: int, seed: int):
        for key, split in (("training", train), ("held-out", held_out)):
            if split.num_examples < batch_size:
                raise InputError(
                    f"supernet.batch_size: expected at most the {split.num_examples} {key} images, got {batch_size}"
                )
        self.splits, self.phases, self.batch_size, self.seed = (train, held_out), phases, batch_size, seed
        self.steps_per_epoch = train.steps_per_epoch(batch_size)

    def __call__(self, epoch: int, skip_batches: int, shard: tuple[int, int]) -> tf.data.Dataset:
        start, end = epoch * self.steps_per_epoch + skip_batches, (epoch + 1) * self.steps_per_epoch
        kinds = np.array([self.phases.is_importance(step) for step in range(start, end)], np.int64)
        counts = (self.phases.weight_steps, self.phases.importance_steps)
        streams = [
            self._stream(split, count(start), count(end), shard)
            for split, count in zip(self.splits, counts, strict=True)
        ]
        weights, importances = streams
        if weights is None or importances is None:
            return importances if weights is None else weights
        if weights.element_spec[1].shape.rank != importances.element_spec[1].shape.rank:
            raise InputError(
                f"data: expected labels of one kind, got {weights.element_spec[1]} in training images and"
                f" {importances.element_spec[1]} in held-out ones"
            )
        return tf.data.Dataset.choose_from_datasets(streams, tf.data.Dataset.from_tensor_slices(kinds))

    def _stream(self, split, first: int, last: int, shard: tuple[int, int]) -> tf.data.Dataset | None:
        """The batches first to last - 1 of the split's endless passes; None where these are none."""
        found, size = None, split.steps_per_epoch(self.batch_size)
        while first < last:
            number, skipped = divmod(first, size)
            count = min(size - skipped, last - first)
            part = training_batches(split, self.batch_size, self.seed, number, skipped, shard).take(count)
            found = part if found is None else found.concatenate(part)
            first += count
        return found
