"""The step that trains a supernet: gradients of several paths on one batch, summed, then one move of the optimizer.

Strict fairness (FairNAS): the m paths of a step use every choice of every layer exactly once, so stem and tail see m
gradients and each choice one. L2 is added once, not m times. Two executions give the same gradients: `sequential` runs
one path after another in the memory of one; `lanes` carries all of them side by side without control flow. In both
the stem runs once: the paths share its output, and their gradients are added up before they go back through it.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from scarlet_tf.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training import kernels  # noqa: F401 - puts TensorFlow's kernels to use

EXECUTIONS = ("sequential", "lanes")
_ZERO = tf.UnconnectedGradients.ZERO


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


class SupernetStep:
    """One replica's share of a supernet step: `step(images, labels, paths [num_paths, num_layers])`.

    Args:
        supernet, optimizer: both built.
        loss: a Loss.
        execution: "sequential", or "lanes" for strict-fair paths.
        weight_decay: L2 on the kernels of convolutions and the classifier (gradient weight_decay * w), not on BN.
        selective: uniform sampling: choices that the path does not use are left entirely alone; the optimizer must
            be a SelectiveSGD.
        training: False freezes BN at its moving statistics, which makes a step on several replicas comparable with
            one on a single device.
        num_replicas: replicas whose shares are summed.
    """

    def __init__(
        self,
        supernet: Supernet,
        optimizer,
        loss: Loss,
        execution: str = "sequential",
        weight_decay: float = 0.0,
        selective: bool = False,
        training: bool = True,
        num_replicas: int = 1,
    ):
        if execution not in EXECUTIONS:
            raise InputError(f"execution: expected one of {EXECUTIONS}, got {execution!r}")
        if selective and execution == "lanes":
            raise InputError("execution: lanes needs strict-fair paths; uniform sampling runs sequentially")
        self.supernet, self.optimizer, self.loss = supernet, optimizer, loss
        self.execution, self.weight_decay, self.selective = execution, weight_decay, selective
        self.training, self.num_replicas = training, num_replicas

    def __call__(self, images, labels, paths):
        loss, accuracy, gradients = self.gradients(images, labels, paths)
        variables = self.supernet.trainable_variables
        if self.weight_decay:
            gradients = [self._with_decay(g, v) for g, v in zip(gradients, variables, strict=True)]
        if self.selective:
            self.optimizer.select(self._active(paths[0]))
        self.optimizer.apply(gradients, variables)
        num_paths = tf.cast(tf.shape(paths)[0], tf.float32)
        return {"loss": loss / num_paths, "accuracy": accuracy / num_paths}

    def gradients(self, images, labels, paths):
        """(summed loss, summed accuracy, gradients in the order of `supernet.trainable_variables`), without L2."""
        run = sequential_gradients if self.execution == "sequential" else lanes_gradients
        return run(self.supernet, self.loss, images, labels, paths, self.training)

    def _with_decay(self, gradient, variable):
        if len(variable.shape) < 2:
            return gradient
        # The replicas' gradients are summed, so each adds its share.
        return gradient + tf.cast(self.weight_decay / self.num_replicas, gradient.dtype) * tf.convert_to_tensor(
            variable
        )

    def _active(self, path) -> dict:
        active = {}
        for layer, block in enumerate(self.supernet.choice_blocks):
            for index, candidate in enumerate(block.candidates):
                drawn = tf.equal(path[layer], index)
                active |= {variable.path: drawn for variable in candidate.trainable_variables}
        return active


def lanes_gradients(supernet: Supernet, loss: Loss, images, labels, paths, training: bool = True):
    """All paths side by side; see `Supernet.lanes`."""
    variables = [v.value for v in supernet.trainable_variables]
    with tf.GradientTape() as tape:
        logits = supernet.lanes(images, paths, training=training)
        num_lanes = logits.shape[0]
        total, accuracy = loss(tf.tile(labels, [num_lanes]), tf.reshape(logits, [-1, logits.shape[-1]]))
    return total, accuracy, tape.gradient(total, variables, unconnected_gradients=_ZERO)


def sequential_gradients(supernet: Supernet, loss: Loss, images, labels, paths, training: bool = True):
    """One path after another in a tf.while_loop: one traced path, whatever their number."""
    paths = tf.convert_to_tensor(paths)
    stem_variables = supernet.stem.trainable_variables
    variables = [v for layer in (*supernet.choice_blocks, supernet.tail) for v in layer.trainable_variables]
    with tf.GradientTape() as stem_tape:
        features = supernet.stem(images, training=training)

    def one_path(index, total, accuracy, sums):
        with tf.GradientTape() as tape:
            tape.watch(features)
            x = supernet.features(features, paths[index], training)
            path_loss, path_accuracy = loss(labels, supernet.tail(x, training=training))
        gradients = tape.gradient(path_loss, [features, *(v.value for v in variables)], unconnected_gradients=_ZERO)
        sums = [a + b for a, b in zip(sums, gradients, strict=True)]
        return index + 1, total + path_loss, accuracy + path_accuracy, sums

    sums = [tf.zeros_like(features), *(tf.zeros(v.shape, v.dtype) for v in variables)]
    num_paths = tf.shape(paths)[0]
    _, total, accuracy, sums = tf.while_loop(
        lambda index, *_: index < num_paths, one_path, (tf.constant(0), 0.0, 0.0, sums), parallel_iterations=1
    )
    stem_gradients = stem_tape.gradient(
        features, [v.value for v in stem_variables], output_gradients=sums[0], unconnected_gradients=_ZERO
    )
    by_path = {v.path: g for v, g in zip([*stem_variables, *variables], [*stem_gradients, *sums[1:]], strict=True)}
    return total, accuracy, [by_path[v.path] for v in supernet.trainable_variables]
