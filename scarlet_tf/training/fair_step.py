"""The step that trains a supernet: gradients of several paths on one batch, summed, then one move of the optimizer.

Strict fairness (FairNAS): the m paths of a step use every choice of every layer exactly once, so stem and tail see m
gradients and each choice one. L2 is added once, not m times. Two executions give the same step: `sequential` runs one path
after another in the memory of one; `lanes` carries all of them side by side without control flow. In both the stem
runs once: the paths share its output, and their gradients are added up before they go back through it.

Under strict fairness, and with one path, no choice is in two paths of a step. On one device `sequential` therefore moves a
choice's weights as soon as their gradient is there: no other path of the step reads them. Several replicas have to add up
their gradients first, so there they are kept in variables until all paths are done.
"""

from __future__ import annotations

import tensorflow as tf

from scarlet_tf.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training import kernels  # noqa: F401 - puts TensorFlow's kernels to use
from scarlet_tf.training.losses import Loss
from scarlet_tf.training.optimizers import SelectiveSGD
from scarlet_tf.training.sequential import ZERO, Paths

EXECUTIONS = ("sequential", "lanes")


class SupernetStep:
    """One replica's share of a supernet step: `step(images, labels, paths [num_paths, num_layers])`.

    Args:
        supernet: built.
        optimizer: a SelectiveSGD, built for the supernet's trainable variables.
        loss: a Loss.
        execution: "sequential", or "lanes" for strict-fair paths.
        weight_decay: L2 on the kernels of convolutions and the classifier (gradient weight_decay * w), not on BN.
        selective: uniform sampling: choices that the path does not use are left entirely alone.
        training: False freezes BN at its moving statistics, which makes a step on several replicas comparable with
            one on a single device.
        num_replicas: replicas whose shares are summed.

    No choice may be in two paths of a step.
    """

    def __init__(
        self,
        supernet: Supernet,
        optimizer: SelectiveSGD,
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
        self._kept = KeptGradients(supernet) if execution == "sequential" and num_replicas > 1 else None

    def __call__(self, images, labels, paths):
        if self.execution == "sequential" and self._kept is None:
            loss, accuracy = self._move_as_they_come(images, labels, paths)
        else:
            loss, accuracy = self._move_at_the_end(images, labels, paths)
        num_paths = tf.cast(tf.shape(paths)[0], tf.float32)
        return {"loss": loss / num_paths, "accuracy": accuracy / num_paths}

    def _move_as_they_come(self, images, labels, paths):
        learning_rate = tf.convert_to_tensor(self.optimizer.learning_rate)

        def receive(variables, gradients):
            for variable, gradient in zip(variables, gradients, strict=True):
                self.optimizer.update_step(self._with_decay(gradient, variable), variable.value, learning_rate)

        run = Paths(self.supernet, self.loss, receive, self.training)
        loss, accuracy, shared = run(images, labels, paths)
        variables = [v for v in self.supernet.trainable_variables if v.path in shared]
        self._apply([shared[v.path] for v in variables], variables)
        return loss, accuracy

    def _move_at_the_end(self, images, labels, paths):
        if self._kept is None:
            loss, accuracy, gradients = lanes_gradients(self.supernet, self.loss, images, labels, paths, self.training)
        else:
            loss, accuracy, gradients = self._kept.run(self.loss, images, labels, paths, self.training)
        if self.selective:
            self.optimizer.select(self._active(paths[0]))
        self._apply(gradients, self.supernet.trainable_variables)
        return loss, accuracy

    def _apply(self, gradients, variables) -> None:
        pairs = zip(gradients, variables, strict=True)
        self.optimizer.apply([self._with_decay(g, v) for g, v in pairs], variables)

    def _with_decay(self, gradient, variable):
        if not self.weight_decay or len(variable.shape) < 2:
            return gradient
        # The replicas' gradients are summed, so each adds its share.
        share = tf.cast(self.weight_decay / self.num_replicas, gradient.dtype)
        return gradient + share * tf.convert_to_tensor(variable)

    def _active(self, path) -> dict:
        active = {}
        for layer, block in enumerate(self.supernet.choice_blocks):
            for index, candidate in enumerate(block.candidates):
                drawn = tf.equal(path[layer], index)
                active |= {variable.path: drawn for variable in candidate.trainable_variables}
        return active


class KeptGradients:
    """The choices' gradients of the step under way, in one variable each; made under the strategy's scope.

    What a choice that no path used holds is left from an earlier step.
    """

    def __init__(self, supernet: Supernet):
        self.supernet = supernet
        variables = [v for block in supernet.choice_blocks for v in block.trainable_variables]
        self.kept = {v.path: self._variable(v) for v in variables}

    def run(self, loss: Loss, images, labels, paths, training: bool = True):
        """(summed loss, summed accuracy, gradients in the order of `supernet.trainable_variables`), without L2."""
        total, accuracy, shared = Paths(self.supernet, loss, self._keep, training)(images, labels, paths)
        # Read behind the loop: automatic control dependencies see to the order.
        gradients = {**{path: kept.value() for path, kept in self.kept.items()}, **shared}
        return total, accuracy, [gradients[v.path] for v in self.supernet.trainable_variables]

    def _keep(self, variables, gradients) -> None:
        for variable, gradient in zip(variables, gradients, strict=True):
            self.kept[variable.path].assign(gradient)

    @staticmethod
    def _variable(like) -> tf.Variable:
        return tf.Variable(
            tf.zeros(like.shape, like.dtype),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )


def lanes_gradients(supernet: Supernet, loss: Loss, images, labels, paths, training: bool = True):
    """(summed loss, summed accuracy, gradients in the order of `supernet.trainable_variables`) of all paths side by side.

    See `Supernet.lanes`.
    """
    variables, labels = [v.value for v in supernet.trainable_variables], tf.convert_to_tensor(labels)
    with tf.GradientTape() as tape:
        logits = supernet.lanes(images, paths, training=training)
        num_lanes = logits.shape[0]
        repeated = tf.tile(labels, [num_lanes] + [1] * (labels.shape.rank - 1))
        total, accuracy = loss(repeated, tf.reshape(logits, [-1, logits.shape[-1]]))
    return total, accuracy, tape.gradient(total, variables, unconnected_gradients=ZERO)
