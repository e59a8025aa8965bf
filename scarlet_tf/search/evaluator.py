"""Evaluator: the one-shot accuracy of paths, each with batch normalisation recalibrated for it."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.errors import InputError
from scarlet_tf.layers.primitives import BN_MOMENTUM
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space import Architecture
from scarlet_tf.training.batch_norm import moving_statistics, recalibrate
from scarlet_tf.training.evaluation import score
from scarlet_tf.training.inputs import as_split

MAX_CACHED_BYTES = 512 * 2**20


class Evaluator:
    """Measures paths of a supernet on held-out images; the supernet's own statistics are left as they were.

    Args:
        supernet: trained.
        validation_data: labelled images to score on: a split, a batched tf.data.Dataset or (images, labels).
        recalibration_data: training images; without any, paths are scored with the supernet's running statistics,
            which mix all paths and say little.
        recalibration_batches: how many batches BN is recalibrated over.
        batch_size: images at a time, for both.
        seed: of the order in which training images come.

    What an evaluation answers depends on the path alone, not on those before it.
    """

    def __init__(
        self,
        supernet: Supernet,
        validation_data,
        recalibration_data=None,
        recalibration_batches: int = 20,
        batch_size: int = 128,
        seed: int = 0,
    ):
        self.supernet = supernet
        self._validation = _cached(as_split(validation_data, supernet.num_classes).batches(batch_size))
        self._recalibration = None
        if recalibration_data is not None and recalibration_batches > 0:
            batches = as_split(recalibration_data).batches(batch_size, training=True, seed=seed, drop_remainder=False)
            self._recalibration = _cached(batches.take(recalibration_batches))
        self._forward = tf.function(lambda images, path: supernet(images, path, training=True))
        self._score = tf.function(lambda images, labels, path: score(supernet(images, path), labels))

    def evaluate(self, choices) -> dict:
        """{"accuracy": top-1 in 0..1, "loss": mean cross-entropy, "num_examples"} of one path.

        `choices`: an Architecture or its choice indices [num_layers]; InputError when they do not fit the space.
        """
        if not isinstance(choices, Architecture):
            choices = Architecture(tuple(int(c) for c in choices), self.supernet.space)
        architecture = choices.within(self.supernet.space)
        path = tf.constant(architecture.choices, tf.int32)
        statistics = moving_statistics(self._layers(architecture))
        before = [np.asarray(keras.ops.convert_to_numpy(v)) for v in statistics]
        try:
            if self._recalibration is not None:
                recalibrate(lambda x: self._forward(x, path), self._recalibration, statistics, BN_MOMENTUM)
            return self._scored(path)
        finally:
            for variable, value in zip(statistics, before, strict=True):
                variable.assign(value)

    def _scored(self, path) -> dict:
        hits = examples = 0
        loss = 0.0
        for images, labels in self._validation:
            share_hits, share_loss = self._score(images, labels, path)
            hits += int(share_hits)
            loss += float(share_loss)
            examples += len(labels)
        if examples == 0:
            raise InputError("search: expected at least one validation image, got none")
        return {"accuracy": hits / examples, "loss": loss / examples, "num_examples": examples}

    def _layers(self, architecture: Architecture) -> list:
        chosen = zip(self.supernet.choice_blocks, architecture.choices, strict=True)
        return [self.supernet.stem, self.supernet.tail, *(block.candidates[choice] for block, choice in chosen)]


def _cached(batches: tf.data.Dataset):
    """The batches as a list when they are few enough to keep; else the dataset, read anew each time."""
    kept, size = [], 0
    for images, labels in batches:
        kept.append((images, labels))
        size += images.dtype.size * int(np.prod(images.shape))
        if size > MAX_CACHED_BYTES:
            return batches
    return kept
