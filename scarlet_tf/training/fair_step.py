"""Strict-fair training of a supernet (FairNAS, arXiv:1907.01845): one step, in two executions.

    for each batch:
        for each layer: draw a permutation of its m choices               sampling.strict_fair_paths
        for k = 1 .. m: path k takes the k-th choice of every layer
            gradients += gradients of the loss of path k on the batch     SupernetStep
        move the weights once, by the summed gradients

Every choice of every layer is thus trained once a step; stem and tail see m gradients. L2 is added once, not m times. The
stem runs once: the paths share its output, and their gradients are added up before they go back through it.

`sequential` runs one path after another in the memory of one, from Python, through compiled layers; `lanes` carries all of
them side by side in one graph without control flow. Both give the same step. No choice is in two paths of a step, so on one
device `sequential` moves a choice's weights as soon as their gradient is there: no other path reads them. Several replicas
have to add up their gradients first, and clipping needs the norm of all of them, so there they are kept until all paths
are done.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation import kernels
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.compiled_layers import ZERO, CompiledLayers, Rule, decayed, unscaled
from scarlet_tf.training.devices import check_support
from scarlet_tf.training.optimizers import Loss, MomentumSGD, clipped

EXECUTIONS = ("sequential", "lanes")
LOSS_SCALE = 1024.0


class SupernetStep:
    """One replica's share of a supernet step: `step(images, labels, paths [num_paths, num_layers])`.

    Args:
        supernet: built.
        optimizer: a MomentumSGD, built for the supernet's trainable variables.
        loss: a Loss.
        execution: "sequential", or "lanes" for strict-fair paths.
        weight_decay: L2 on the kernels of convolutions and the classifier (gradient weight_decay * w), not on BN.
        training: False freezes BN at its moving statistics, which makes a step on several replicas comparable with
            one on a single device.
        num_replicas: replicas whose shares are summed.
        jit_compile: has XLA compile the step; for lanes on one device.
        clip_norm: the greatest norm of what the optimizer is given: the gradients of all weights together, summed over paths
            and replicas, with L2. Greater ones are scaled down, all by one factor. 0 for none.

    Under float16, gradients on their way back are LOSS_SCALE times as large as they are, so that small ones do not vanish.

    No choice may be in two paths of a step. Choices that are in none are left entirely alone: no update, no decay, no
    momentum.
    """

    def __init__(
        self,
        supernet: Supernet,
        optimizer: MomentumSGD,
        loss: Loss,
        execution: str = "sequential",
        weight_decay: float = 0.0,
        training: bool = True,
        num_replicas: int = 1,
        jit_compile: bool = False,
        clip_norm: float = 0.0,
    ):
        if execution not in EXECUTIONS:
            raise InputError(f"execution: expected one of {EXECUTIONS}, got {execution!r}")
        self.supernet, self.optimizer, self.loss = supernet, optimizer, loss
        self.execution, self.weight_decay = execution, weight_decay
        self.training, self.num_replicas, self.clip_norm = training, num_replicas, clip_norm
        self.scale = LOSS_SCALE if supernet.compute_dtype == "float16" else 1.0
        if jit_compile and (execution != "lanes" or num_replicas > 1):
            raise InputError("supernet.jit_compile: expected false but for lanes on one device, got true")
        check_support(supernet.dtype_policy.name, jit_compile)
        self._run_lanes = tf.function(self._lanes, autograph=False, jit_compile=True) if jit_compile else self._lanes
        if execution == "sequential":
            self._at_once = num_replicas == 1 and not clip_norm  # choices' weights move during the backward pass
            rule = Rule(weight_decay / num_replicas, optimizer.momentum if self._at_once else None, self.scale)
            self._paths = Paths(supernet, loss, rule, optimizer.slots, training)
            self._rate = tf.function(lambda: tf.convert_to_tensor(optimizer.learning_rate), autograph=False)
            self._apply_compiled = tf.function(self._apply, autograph=False)

    @property
    def compiled(self) -> bool:
        """True if the step is to be called inside a tf.function; else it calls compiled functions itself."""
        return self.execution == "lanes"

    def __call__(self, images, labels, paths):
        share = self._run_lanes if self.compiled else self._sequential
        loss, accuracy = share(images, labels, paths)
        return {"loss": loss / paths.shape[0], "accuracy": accuracy / paths.shape[0]}

    def _sequential(self, images, labels, paths):
        rate = self._rate() if self._at_once else None
        loss, accuracy, gradients = self._paths(images, labels, paths, rate)
        # Replicas' gradients are added up, which TensorFlow cannot do inside a replica's own tf.function; and a single path's
        # choices are others in each step, for which a function would be traced again.
        fixed = self._at_once or (self.num_replicas == 1 and len(gradients) == len(self.supernet.trainable_variables))
        (self._apply_compiled if fixed else self._apply)(gradients)
        return loss, accuracy

    def _lanes(self, images, labels, paths):
        variables = self.supernet.trainable_variables
        loss, accuracy, gradients = lanes_gradients(
            self.supernet, self.loss, images, labels, paths, self.training, self.scale
        )
        weights = [tf.convert_to_tensor(v) for v in variables]
        # The replicas' gradients are summed, so each adds its share.
        gradients = decayed(gradients, weights, self.weight_decay / self.num_replicas)
        self.optimizer.apply(clipped(gradients, self.clip_norm, self.num_replicas), variables)
        return loss, accuracy

    def _apply(self, gradients: dict) -> None:
        variables = [v for v in self.supernet.trainable_variables if v.path in gradients]
        found = [gradients[v.path] for v in variables]
        self.optimizer.apply(clipped(found, self.clip_norm, self.num_replicas), variables)


class Paths:
    """Runs paths of one supernet forward and backward, layer by layer, from Python: call it eagerly.

    Args:
        rule: what happens to the choices' weights as soon as their gradients are there. Without a momentum the
            gradients are returned with those of stem and tail, which nothing here moves.
        slots: {variable path: momentum variable}, for a rule with a momentum above 0.
    """

    def __init__(self, supernet: Supernet, loss: Loss, rule: Rule, slots: dict | None = None, training: bool = True):
        self.supernet, self.rule = supernet, rule
        self._layers = CompiledLayers(supernet, loss, rule, slots, training)

    def __call__(self, images, labels, paths, learning_rate=None):
        """(summed loss, summed accuracy, {variable path: gradient}), with L2.

        `paths` are integers [num_paths, num_layers]; no choice may be in two of them. The stem runs once; its gradients
        are those of the sum that comes back to it.
        """
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
        stem, tail = self.supernet.stem, self.supernet.tail
        first = self._layers.layer(stem, images)
        features, *residuals = first.forward([images, *first.handles])
        zeros = [tf.zeros(v.shape, v.dtype) for v in tail.trainable_variables]
        sums = decayed(zeros, [tf.convert_to_tensor(v) for v in tail.trainable_variables], self.rule.decay)
        loss = accuracy = upstream = None
        gradients: dict = {}
        for path in np.asarray(paths):
            path_loss, hits, dx, sums = self._one_path(features, labels, path, sums, learning_rate, gradients)
            loss = path_loss if loss is None else loss + path_loss
            accuracy = hits if accuracy is None else accuracy + hits
            upstream = dx if upstream is None else upstream + dx
        _, *stem_gradients = first.backward([images, *first.handles, *residuals, upstream])
        gradients |= _by_path(stem, stem_gradients) | _by_path(tail, sums)
        return loss, accuracy, gradients

    def _one_path(self, x, labels, path, sums, learning_rate, gradients):
        """(loss, accuracy, gradient of x, the tail's gradients added to `sums`)."""
        passed = []
        for block, choice in zip(self.supernet.choice_blocks, path.tolist(), strict=True):
            candidate = block.candidates[choice]
            layer = self._layers.layer(candidate, x)
            y, *residuals = layer.forward([x, *layer.handles])
            passed.append((candidate, layer, x, residuals))
            x = y
        tail = self._layers.tail(x, labels)
        loss, accuracy, dx, *sums = tail.forward([x, labels, *tail.handles, *sums])
        rate = [] if self.rule.momentum is None else [learning_rate]
        del y, residuals
        while passed:  # what a layer kept is let go as soon as it was used
            candidate, layer, x, residuals = passed.pop()
            dx, *found = layer.backward([x, *layer.handles, *residuals, dx, *rate, *layer.slots])
            if found:
                gradients |= _by_path(candidate, found)
        return loss, accuracy, dx, sums


def _by_path(layer, gradients: list) -> dict:
    return {v.path: g for v, g in zip(layer.trainable_variables, gradients, strict=True)}


def lanes_gradients(supernet: Supernet, loss: Loss, images, labels, paths, training: bool = True, scale: float = 1.0):
    """(summed loss, summed accuracy, gradients in the order of `supernet.trainable_variables`) of all paths side by side.

    See `Supernet.lanes`. `scale`: by how much the gradients are larger on their way back.
    """
    variables, labels = [v.value for v in supernet.trainable_variables], tf.convert_to_tensor(labels)
    with tf.GradientTape() as tape, kernels.in_step():
        logits = supernet.lanes(images, paths, training=training)
        num_lanes = logits.shape[0]
        repeated = tf.tile(labels, [num_lanes] + [1] * (labels.shape.rank - 1))
        total, accuracy = loss(repeated, tf.reshape(logits, [-1, logits.shape[-1]]))
        scaled = total * scale
    gradients = tape.gradient(scaled, variables, unconnected_gradients=ZERO)
    return total, accuracy, unscaled(gradients, scale)
