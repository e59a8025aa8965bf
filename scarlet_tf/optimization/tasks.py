"""The worker's two tasks: a model to train, and its result. Only the worker process imports this module."""

from __future__ import annotations

import math
import pathlib
from typing import Any, assert_never

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from scarlet_tf.base.errors import InputError
from scarlet_tf.optimization.keras2_copy import build_keras2_copy, get_keras2_arrays
from scarlet_tf.optimization.quantizing import convert, output_ranges, quantized
from scarlet_tf.optimization.ranges import clamped, debiased
from scarlet_tf.space.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec
from scarlet_tf.training.checkpoints import Checkpoints

MASK_CHANGES = 100


class QuantizationAware:
    """Training with fake quantisation; the result is a .tflite file."""

    SUFFIX = ".tflite"

    def __init__(self, spec: NetworkSpec, arrays, settings: dict):
        self.copy = build_keras2_copy(spec, arrays, for_xnnpack=True)
        self.model = quantized(self.copy)
        self.int8_ends = settings["int8_ends"]
        self._observe = tf.function(lambda images: self.model(images, training=True), reduce_retracing=True)
        self._begin_round()

    def measure(self, images: np.ndarray) -> dict:
        """Move the ranges by one batch."""
        self._observe(tf.constant(images))
        self._batches += 1
        return {}

    def end_round(self) -> dict:
        """Set the ranges to the means over this round's batches; the next round then sees activations that are not clipped."""
        for pair, starts in zip(output_ranges(self.model), self._starts, strict=True):
            means = [debiased(float(v), start, self._batches) for v, start in zip(pair, starts, strict=True)]
            for variable, value in zip(pair, clamped(*means), strict=True):
                variable.assign(value)
        self._begin_round()
        return {}

    def end_epoch(self) -> None:
        """Do nothing at an epoch's end."""

    def write(self, path: pathlib.Path) -> None:
        path.write_bytes(convert(self.model, self.copy, self.int8_ends))

    def _begin_round(self) -> None:
        self._batches = 0
        self._starts = [tuple(float(v) for v in pair) for pair in output_ranges(self.model)]


class Pruning:
    """Training while the least weights of the pointwise convolutions go to zero; the result is the weights."""

    SUFFIX = ".npz"

    def __init__(self, spec: NetworkSpec, arrays, settings: dict):
        copy = build_keras2_copy(spec, arrays)
        frequency = max(1, settings["ramp_steps"] // MASK_CHANGES)
        # The mask changes every `frequency` steps, and the step that reaches the sparsity has to be one of those.
        end = settings["ramp_steps"] // frequency * frequency
        names = pointwise_layers(spec)

        def wrap(layer):
            if layer.name not in names:
                return layer
            schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, settings["sparsity"], 0, end, frequency=frequency)
            return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule)

        self.model = tf_keras.models.clone_model(copy, clone_function=wrap)
        self._masks = tfmot.sparsity.keras.UpdatePruningStep()
        self._masks.set_model(self.model)
        self._masks.on_train_begin()

    def end_epoch(self) -> None:
        """Set masked weights to zero again after the last update."""
        self._masks.on_epoch_end(batch=-1)

    def write(self, path: pathlib.Path) -> None:
        arrays: dict[str, Any] = get_keras2_arrays(tfmot.sparsity.keras.strip_pruning(self.model))
        np.savez(path, **arrays)


def pointwise_layers(spec: NetworkSpec) -> set[str]:
    """Names of the 1x1 convolutions, those of squeeze-and-excitation excepted."""
    names = {"tail_conv"} if spec.first_channels is None else {"stem_project", "tail_conv"}
    for block in spec.blocks:
        if isinstance(block, InvertedResidualSpec):
            names |= {f"{block.name}_expand", f"{block.name}_project"} if block.expand else {f"{block.name}_project"}
        elif isinstance(block, LinearSpec):
            names.add(f"{block.name}_let")
        elif not isinstance(block, IdentitySpec):
            assert_never(block)
    return names


# -- Training steps of a task's model, and checkpoints of all that they change. Only the worker process imports this module


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
