"""The training loss, as one replica's share of the global batch's."""

from __future__ import annotations

import keras
import tensorflow as tf

from scarlet_tf.evaluation.scoring import targets_and_classes


class Loss:
    """Softmax cross-entropy with label smoothing, summed over images and divided by the global batch size."""

    def __init__(self, num_classes: int, global_batch_size: int, label_smoothing: float = 0.0):
        self.num_classes = num_classes
        self.global_batch_size = global_batch_size
        self._entropy = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=label_smoothing, reduction="sum"
        )

    def __call__(self, labels, logits):
        """Labels int [B] or shares float [B, num_classes], logits [B, num_classes] -> (loss, accuracy).

        Both are this replica's shares, scalars. An answer is right that names the class with the greatest share.
        """
        targets, classes = targets_and_classes(labels, self.num_classes)
        loss = self._entropy(targets, logits) / self.global_batch_size
        hits = tf.equal(tf.argmax(logits, axis=-1, output_type=classes.dtype), classes)
        return loss, tf.reduce_sum(tf.cast(hits, tf.float32)) / self.global_batch_size
