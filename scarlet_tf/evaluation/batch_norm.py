"""Batch normalisation's statistics, measured again for the weights, or the path, at hand.

The moving statistics of a supernet mix all paths, so a path's accuracy means little before its own are measured. The
network runs in training mode over some batches, as in SPOS (200 batches of 128), and the statistics become the mean of those
that the batches have. Every image counts the same: batches of one size weigh equally, and a last, smaller one less. A moving
average would forget instead: with momentum 0.9 it never holds more than some 19 batches, however many there are.

The mean of variances is not the variance of all images together, which also has the spread of the batches' means in it. It is
what training normalises by, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.spec import PYTORCH

MOMENTUM = PYTORCH.bn_momentum
_STATISTICS = ("moving_mean", "moving_variance")


def moving_statistics(model_or_layers) -> list:
    """The moving means and variances of a model, or of several layers, as Keras variables."""
    layers = model_or_layers if isinstance(model_or_layers, (list, tuple)) else [model_or_layers]
    return [v for layer in layers for v in layer.non_trainable_variables if v.name in _STATISTICS]


def recalibrate(forward: Callable, batches: Iterable, statistics: list, momentum: float = MOMENTUM) -> int:
    """Sets `statistics` to the mean of what `forward(images)`, a pass in training mode, sees in each of `batches`.

    Args:
        forward: runs the network in training mode on one batch of images [B, H, W, C].
        batches: of (images, labels).
        statistics: the variables that `forward` moves, from `moving_statistics`.
        momentum: that of the network's batch normalisation.

    Returns: the number of batches. Raises InputError when there is none.
    """
    for variable in statistics:
        variable.assign(keras.ops.zeros_like(variable))
    moved = packed([variable.value for variable in statistics])
    total, count, examples = tf.zeros_like(moved), 0, 0
    for images, _ in batches:
        before = moved
        forward(images)
        moved = packed([variable.value for variable in statistics])
        total += len(images) * (moved - momentum * before)  # the batch's own, times 1 - momentum
        count, examples = count + 1, examples + len(images)
    if count == 0:
        raise InputError("recalibration: expected at least one batch of images, got none")
    means = tf.split(total / moved_weight(examples, momentum), [variable.shape[0] for variable in statistics])
    for variable, mean in zip(statistics, means, strict=True):
        variable.assign(mean)
    return count


def packed(vectors: list) -> tf.Tensor:
    """Vectors as one, of no length where there are none."""
    return tf.concat(vectors, axis=0) if vectors else tf.zeros([0])


def moved_weight(examples: int, momentum: float) -> np.float32:
    """The sum of the weights where what each batch moves zeros to was added up, times its images, of `examples` in all."""
    return np.float32((1.0 - momentum) * examples)


def rebase(model: keras.Model, batches: Iterable) -> None:
    """Set BN's statistics to those of its inputs, and its scale and offset so that the model computes the same.

    Folding leaves batch normalisations whose statistics are placeholders; training from there would begin with
    normalising by real ones, which is another function. `model` is functional; `batches` yields (images, labels).
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    moments = _input_moments(model, layers, batches)
    for layer, (mean, variance) in zip(layers, moments, strict=True):
        gamma, beta, old_mean, old_variance = (keras.ops.convert_to_numpy(v) for v in _parts(layer))
        scale = gamma / np.sqrt(old_variance + layer.epsilon)
        new = (scale * np.sqrt(variance + layer.epsilon), beta + scale * (mean - old_mean), mean, variance)
        for variable, value in zip(_parts(layer), new, strict=True):
            variable.assign(value.astype(np.float32))


def _parts(layer: keras.layers.BatchNormalization) -> tuple:
    return layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance


def _input_moments(model: keras.Model, layers: list, batches: Iterable) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance [C] of what each layer is given in inference, over all batches, in float64."""
    ops = keras.ops
    inputs = [layer.input for layer in layers]
    sums = [ops.mean(x, axis=(0, 1, 2)) for x in inputs], [ops.mean(ops.square(x), axis=(0, 1, 2)) for x in inputs]
    probe = keras.Model(model.input, sums)
    total: list[np.ndarray] | None = None
    count = 0
    for images, _ in batches:
        first, second = probe(images, training=False)
        moments = [np.stack([np.float64(a), np.float64(b)]) * len(images) for a, b in zip(first, second, strict=True)]
        total = moments if total is None else [a + b for a, b in zip(total, moments, strict=True)]
        count += len(images)
    if total is None:
        raise InputError("rebase: expected at least one batch of images, got none")
    return [(m[0] / count, np.maximum(m[1] / count - (m[0] / count) ** 2, 0.0)) for m in total]
