"""Panel: the one-shot accuracy of a fixed set of paths, measured without a trace in the supernet."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.batch_norm import moving_statistics, recalibrate
from scarlet_tf.training.evaluation import score
from scarlet_tf.training.inputs import ArraySplit

# A path costs RECALIBRATION_BATCHES + ceil(EXAMPLES / BATCH_SIZE) forward passes of a batch. The images are kept in
# memory: 0.9 GB at 224 pixels. With 1000 images an accuracy of 50 % is known to 1.6 points (one standard deviation).
BATCH_SIZE = 64
RECALIBRATION_BATCHES = 8
EXAMPLES = 1000


class Panel:
    """Measures the same paths on the same images again and again.

    Args:
        supernet: while it is being trained; its weights and statistics are the same before and after.
        paths: int [n, num_layers].
        train: the split that batch normalisation is recalibrated on, for each path.
        validation: the split whose images are scored; a fixed random EXAMPLES of them, or of a tf.data.Dataset, which
            cannot be drawn from, the first.
        seed: of the choice of images.
        refresh: called before each measurement; brings `supernet` up to date where it is a copy of the one in training.
    """

    def __init__(
        self,
        supernet: Supernet,
        paths: np.ndarray,
        train,
        validation,
        seed: int = 0,
        refresh: Callable[[], None] = lambda: None,
    ):
        self._refresh = refresh
        self.supernet, self.paths, self.seed = supernet, np.asarray(paths, np.int32), seed
        self._train, self._validation = train, validation
        self._batches: tuple[list, list] | None = None
        # Named shapes, so that a last, smaller batch does not trace anew: that takes longer than many an evaluation.
        images, labels = tf.TensorSpec((None, *supernet.image_shape)), tf.TensorSpec((None,), tf.int32)
        path = tf.TensorSpec((supernet.space.num_layers,), tf.int32)
        self._forward = tf.function(lambda images, path: supernet(images, path, training=True), (images, path))
        self._score = tf.function(
            lambda images, labels, path: score(supernet(images, path), labels), (images, labels, path)
        )

    def accuracies(self) -> list[float]:
        """Top-1 accuracy of each path, 0..1, with batch normalisation recalibrated for it."""
        if self._batches is None:
            self._batches = self._load()
        self._refresh()
        recalibration, validation = self._batches
        statistics = moving_statistics(self._layers())
        before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in statistics]
        try:
            return [self._accuracy(tf.constant(path), recalibration, validation) for path in self.paths]
        finally:
            for variable, value in zip(statistics, before, strict=True):
                variable.assign(value)

    @property
    def num_examples(self) -> int:
        """How many images are scored."""
        return min(EXAMPLES, self._validation.num_examples)

    def image_bytes(self) -> int:
        """What the kept images take."""
        images = self.num_examples + BATCH_SIZE * RECALIBRATION_BATCHES
        return 4 * images * int(np.prod(self.supernet.image_shape))

    def _accuracy(self, path, recalibration, validation) -> float:
        statistics = moving_statistics(self._layers(path.numpy()))
        recalibrate(lambda images: self._forward(images, path), recalibration, statistics)
        hits = examples = 0
        for images, labels in validation:
            hits += int(self._score(images, labels, path)[0])
            examples += len(labels)
        return hits / examples

    def _layers(self, path=None) -> list:
        """The layers of one path, or all."""
        blocks = self.supernet.choice_blocks
        chosen = blocks if path is None else [b.candidates[c] for b, c in zip(blocks, path, strict=True)]
        return [self.supernet.stem, self.supernet.tail, *chosen]

    def _load(self) -> tuple[list, list]:
        recalibration = self._train.batches(BATCH_SIZE, training=True, seed=self.seed, drop_remainder=False)
        validation = _subset(self._validation, self.num_examples, self.seed).batches(BATCH_SIZE)
        validation = validation.unbatch().take(self.num_examples).batch(BATCH_SIZE)
        kept = list(recalibration.take(RECALIBRATION_BATCHES)), list(validation)
        if not all(kept):
            raise InputError("monitor: expected at least one training and one validation image, got none")
        return kept


def _subset(split, count: int, seed: int):
    if isinstance(split, ArraySplit):
        chosen = np.sort(np.random.default_rng(seed).permutation(split.num_examples)[:count])
        return ArraySplit(split.images[chosen], split.labels[chosen])
    return split.take(count, seed) if hasattr(split, "take") else split
