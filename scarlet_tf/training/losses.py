"""The training loss, as one replica's share of the global batch's."""

from __future__ import annotations

import keras
import tensorflow as tf


class Loss:
    """Softmax cross-entropy with label smoothing, summed over images and divided by the global batch size."""

    def __init__(self, num_classes: int, global_batch_size: int, label_smoothing: float = 0.0):
        self.num_classes = num_classes
        self.global_batch_size = global_batch_size
        self._entropy = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=label_smoothing, reduction="sum"
        )

    def __call__(self, labels, logits):
        """Labels [B] int, logits [B, num_classes] -> (loss, accuracy): this replica's shares, scalars."""
        loss = self._entropy(tf.one_hot(labels, self.num_classes), logits) / self.global_batch_size
        hits = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
        return loss, tf.reduce_sum(tf.cast(hits, tf.float32)) / self.global_batch_size
