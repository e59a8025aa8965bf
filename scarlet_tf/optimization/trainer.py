"""Training steps of a task's model, and checkpoints of all that they change. Only the worker process imports this module."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
import tf_keras

from scarlet_tf.errors import InputError
from scarlet_tf.training.checkpoints import Checkpoints


class Trainer:
    """Adam along a cosine, on softmax cross-entropy with label smoothing.

    Args:
        task: has a tf_keras `model` that returns logits, and `end_epoch()`.
        settings: learning_rate, label_smoothing, total_steps.
        folder: of the checkpoints.
        identity: facts that a checkpoint must match to be resumed from, in plain JSON types.
    """

    def __init__(self, task, settings: dict, folder, identity: dict):
        self.task = task
        schedule = tf_keras.optimizers.schedules.CosineDecay(settings["learning_rate"], max(1, settings["total_steps"]))
        self._optimizer = tf_keras.optimizers.Adam(schedule)
        self._optimizer.build(task.model.trainable_variables)
        self._loss = tf_keras.losses.CategoricalCrossentropy(True, settings["label_smoothing"])
        self._step = tf.function(self._train, reduce_retracing=True)
        self._checkpoints, self._identity = Checkpoints(folder), identity
        self._history: list[dict] = []
        self._begin_epoch()

    def restore(self) -> list[dict]:
        """Load the checkpoint and return the figures of the epochs done before; empty without a checkpoint."""
        meta = self._checkpoints.restore(self._variables(), {"identity": self._identity})
        self._history = meta["history"] if meta else []
        return self._history

    def step(self, images: np.ndarray, labels: np.ndarray) -> dict:
        """Make one update; labels int [B] or shares float [B, num_classes]."""
        targets = labels if labels.ndim == 2 else np.eye(self.task.model.output_shape[-1], dtype=np.float32)[labels]
        loss, accuracy = (float(value) for value in self._step(tf.constant(images), tf.constant(targets)))
        if not math.isfinite(loss):
            raise InputError(f"the loss became {loss}: try a smaller learning_rate")
        self._sums += (loss, accuracy, 1)
        return {"loss": loss, "accuracy": accuracy}

    def end_epoch(self) -> dict:
        """Save all variables and return the epoch's mean figures."""
        self.task.end_epoch()
        loss, accuracy = self._sums[:2] / max(1, self._sums[2])
        self._history.append({"loss": float(loss), "accuracy": float(accuracy)})
        meta = {"identity": self._identity, "history": self._history}
        self._checkpoints.save(len(self._history), self._variables(), meta)
        self._begin_epoch()
        return self._history[-1]

    def _train(self, images, targets):
        model = self.task.model
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = self._loss(targets, logits)
        variables = model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        hits = tf.equal(tf.argmax(logits, -1), tf.argmax(targets, -1))
        return loss, tf.reduce_mean(tf.cast(hits, tf.float32))

    def _variables(self) -> dict:
        # tf_keras gives several variables one name; their order is that of the layers.
        every = [*self.task.model.weights, *self._optimizer.variables]
        return {f"{index:05d}": variable for index, variable in enumerate(every)}

    def _begin_epoch(self) -> None:
        self._sums = np.zeros(3)
