"""evaluate: top-1 accuracy and cross-entropy of a model over batches of labelled images."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError

CHANCE_ERRORS = 2.0
"""Of 44 networks that guess, one is further above chance than two standard errors."""


def inference(model):
    """`model` in inference mode as one traced function of images; to be reused over several evaluations."""
    return tf.function(lambda images: model(images, training=False), reduce_retracing=True)


def evaluate(model, batches, forward=None) -> dict:
    """{"accuracy", "loss", "num_examples"} of a model that returns logits [B, num_classes].

    `batches` yields (images [B, H, W, C], labels [B] or shares [B, num_classes]); `forward`, from `inference(model)`,
    spares tracing again. Raises InputError when there is no image.
    """
    host.check_fork()
    forward = forward or inference(model)
    hits = examples = 0
    loss = 0.0
    for images, labels in batches:
        share_hits, share_loss = score(forward(images), labels)
        hits += int(share_hits)
        loss += float(share_loss)
        examples += len(labels)
    if examples == 0:
        raise InputError("evaluation: expected at least one labelled image, got none")
    return {"accuracy": hits / examples, "loss": loss / examples, "num_examples": examples}


def beside_chance(figures: Mapping, labels: np.ndarray) -> dict:
    """Figures of `evaluate` with "most_frequent", which share of the labels their most frequent class has, and "above_chance".

    Above chance is an accuracy that exceeds this share by more than CHANCE_ERRORS standard errors of a share of so many images.
    """
    count = len(labels)
    share = float(np.bincount(labels).max() / count)
    error = math.sqrt(share * (1 - share) / count)
    return {**figures, "most_frequent": share, "above_chance": figures["accuracy"] > share + CHANCE_ERRORS * error}


def score(logits, labels):
    """(number of correct answers int32, summed cross-entropy) for logits [B, num_classes] and labels as in Loss."""
    logits, labels = tf.cast(logits, tf.float32), tf.convert_to_tensor(labels)
    if labels.shape.rank == 2:
        targets, labels = targets_and_classes(labels, logits.shape[-1])
        loss = keras.ops.categorical_crossentropy(targets, logits, from_logits=True)
    else:
        labels = tf.cast(labels, tf.int32)
        loss = keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    hits = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels)
    return tf.reduce_sum(tf.cast(hits, tf.int32)), tf.reduce_sum(loss)


def targets_and_classes(labels, num_classes: int):
    """(shares float32 [B, num_classes], classes int [B]) of labels int [B] or float [B, num_classes]."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2:
        return tf.cast(labels, tf.float32), tf.argmax(labels, axis=-1, output_type=tf.int32)
    return tf.one_hot(labels, num_classes), labels
