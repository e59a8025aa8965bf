"""A training step of a supernet, strictly fair (FairNAS, arXiv:1907.01845) or a sandwich (BigNAS, arXiv:2003.11142).

    for each batch:
        for each layer: draw a permutation of its m choices               sampling.strict_fair_paths
        for k = 1 .. m: path k takes the k-th choice of every layer
            gradients += gradients of the loss of path k on the batch     SupernetStep
        move the weights once, by the summed gradients

Every choice of every layer is thus trained once a step; stem and tail see m gradients. L2 is added once, not m times. The
stem runs once: the paths share its output, and their gradients are added up before they go back through it.

A sandwich is the same step with other paths: the largest, the smallest and random ones. With in-place distillation the first
path, the largest, learns from the labels, and the others also from what it predicts.

`sequential` runs one path after another in the memory of one, from Python, through compiled layers; `lanes` carries all of
them side by side in one graph without control flow. Both give the same step. No choice is in two paths of a fair step, so
on one device `sequential` moves a choice's weights as soon as their gradient is there: no other path reads them. Several
replicas have to add up their gradients first, clipping needs the norm of all of them, and a choice may be in several paths of
a sandwich; there gradients are kept, and added up by variable, until all paths are done.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation import kernels
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.compiled_layers import ZERO, CompiledLayers, Rule, decayed
from scarlet_tf.training.devices import check_support
from scarlet_tf.training.optimizers import InPlaceLoss, Loss, MomentumSGD, clipped, loss_scale, unscaled

EXECUTIONS = ("sequential", "lanes")
_FIGURES = ("loss", "accuracy", "cross_entropy")


class SupernetStep:
    """One replica's share of a supernet step: `step(images, labels, paths [num_paths, num_layers])`.

    Args:
        supernet: built.
        optimizer: a MomentumSGD, built for the supernet's trainable variables.
        loss: a Loss.
        execution: "sequential", or "lanes" for strict-fair paths.
        weight_decay: L2 on the kernels of convolutions and the classifier (gradient weight_decay * w), not on BN.
        training: False freezes BN at its moving statistics, which also makes a step on several replicas comparable with
            one on a single device.
        num_replicas: replicas whose shares are summed.
        jit_compile: has XLA compile the step; for lanes on one device.
        clip_norm: the greatest norm of what the optimizer is given: the gradients of all weights together, summed over paths
            and replicas, with L2. Greater ones are scaled down, all by one factor. 0 for none.
        shared: a choice may be in several paths of a step, as in a sandwich; for the sequential execution.
        distillation: how far all paths but the first learn from its predictions instead of the labels, 0 to 1; for the
            sequential execution. "cross_entropy" is then returned besides "loss" and "accuracy".

    Under float16, gradients on their way back are larger than they are, see `loss_scale`.

    Unless `shared`, no choice may be in two paths of a step. Choices that are in none are left entirely alone: no update, no
    decay, no momentum.
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
        shared: bool = False,
        distillation: float = 0.0,
    ):
        if execution not in EXECUTIONS:
            raise InputError(f"execution: expected one of {EXECUTIONS}, got {execution!r}")
        if execution != "sequential" and (shared or distillation):
            raise InputError(f"execution: expected sequential for a sandwich or distillation, got {execution!r}")
        self.supernet, self.optimizer, self.loss = supernet, optimizer, loss
        self.execution, self.weight_decay = execution, weight_decay
        self.training, self.num_replicas, self.clip_norm, self.shared = training, num_replicas, clip_norm, shared
        self.scale = loss_scale(supernet.dtype_policy.name)
        if jit_compile and (execution != "lanes" or num_replicas > 1):
            raise InputError("supernet.jit_compile: expected false but for lanes on one device, got true")
        check_support(supernet.dtype_policy.name, jit_compile)
        self._run_lanes = tf.function(self._lanes, autograph=False, jit_compile=True) if jit_compile else self._lanes
        if execution == "sequential":
            # Choices' weights move during the backward pass.
            self._at_once = num_replicas == 1 and not clip_norm and not shared
            decay = 0.0 if shared else weight_decay / num_replicas  # of a sum of gradients it is added at the end
            rule = Rule(decay, optimizer.momentum if self._at_once else None, self.scale)
            self._paths = Paths(supernet, loss, rule, optimizer.slots, training, distillation)
            self._rate = tf.function(lambda: tf.convert_to_tensor(optimizer.learning_rate), autograph=False)
            self._apply_compiled = tf.function(self.move, autograph=False)

    @property
    def compiled(self) -> bool:
        """True if the step is to be called inside a tf.function; else it calls compiled functions itself."""
        return self.execution == "lanes"

    def __call__(self, images, labels, paths):
        if self.compiled:
            return _figures(self._run_lanes(images, labels, paths), paths)
        gradients, figures = self.gradients(images, labels, paths)
        # Replicas' gradients are added up, which TensorFlow cannot do inside a replica's own tf.function; and the choices of
        # one path or a few are others in each step, for which a function would be traced again.
        fixed = self._at_once or (self.num_replicas == 1 and len(gradients) == len(self.supernet.trainable_variables))
        (self._apply_compiled if fixed else self.move)(gradients)
        return figures

    @property
    def moves_apart(self) -> bool:
        """True if a step is best taken as `gradients` and `move`, the latter for all replicas within one tf.function.

        A call would do, but to add up gradients and move weights one by one takes many times a step. The gradients of strictly
        fair paths have always the same names, so that there is one function.
        """
        return self.execution == "sequential" and self.num_replicas > 1 and not self.shared

    def gradients(self, images, labels, paths) -> tuple[dict, dict]:
        """({variable path: gradient}, figures) of a sequential step; choices' weights may have been moved already."""
        *figures, gradients = self._paths(images, labels, paths, self._rate() if self._at_once else None)
        return gradients, _figures(figures, paths)

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

    def move(self, gradients: dict) -> None:
        """Move weights by the gradients of all paths, in a replica's context, where those of all replicas are added up."""
        variables = [v for v in self.supernet.trainable_variables if v.path in gradients]
        found = [gradients[v.path] for v in variables]
        if self.shared:
            found = decayed(found, [tf.convert_to_tensor(v) for v in variables], self.weight_decay / self.num_replicas)
        self.optimizer.apply(clipped(found, self.clip_norm, self.num_replicas), variables)


def _figures(totals, paths) -> dict:
    """Return the means over the paths by name."""
    return {name: total / paths.shape[0] for name, total in zip(_FIGURES, totals, strict=False)}


class Paths:
    """Runs paths of one supernet forward and backward, layer by layer, from Python: call it eagerly.

    Args:
        rule: what happens to the choices' weights as soon as their gradients are there. Without a momentum the
            gradients are returned with those of stem and tail, which nothing here moves.
        slots: {variable path: momentum variable}, for a rule with a momentum above 0.
        distillation: how far all paths but the first learn from its predictions instead of the labels.
    """

    def __init__(
        self,
        supernet: Supernet,
        loss: Loss,
        rule: Rule,
        slots: dict | None = None,
        training: bool = True,
        distillation: float = 0.0,
    ):
        self.supernet, self.rule, self.distillation = supernet, rule, distillation
        self._layers = CompiledLayers(supernet, InPlaceLoss(loss) if distillation else loss, rule, slots, training)

    def __call__(self, images, labels, paths, learning_rate=None):
        """(summed loss, summed accuracy, {variable path: gradient}), with L2; with distillation cross-entropy third.

        `paths` are integers [num_paths, num_layers]; under a rule that moves or decays weights no choice may be in two of
        them. The stem runs once; its gradients are those of the sum that comes back to it.
        """
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
        stem, tail = self.supernet.stem, self.supernet.tail
        first = self._layers.layer(stem, images)
        features, *residuals = first.forward([images, *first.handles])
        zeros = [tf.zeros(v.shape, v.dtype) for v in tail.trainable_variables]
        sums = decayed(zeros, [tf.convert_to_tensor(v) for v in tail.trainable_variables], self.rule.decay)
        totals: list = []
        gradients: dict = {}
        predicted = None
        for path in np.asarray(paths):
            targets = self._targets(labels, predicted)
            *found, sums = self._one_path(features, targets, path, sums, learning_rate, gradients)
            if self.distillation:
                predictions = found.pop()
                predicted = predictions if predicted is None else predicted
            totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
        upstream, *figures = totals
        _, *stem_gradients = first.backward([images, *first.handles, *residuals, upstream])
        _add(gradients, stem, stem_gradients)
        _add(gradients, tail, sums)
        return *figures, gradients

    def _targets(self, labels, predicted) -> list:
        """Arguments of the tail's loss; nothing is predicted for the first path yet, which learns from the labels alone."""
        if not self.distillation:
            return [labels]
        if predicted is None:
            return [labels, tf.zeros([labels.shape[0], self.supernet.num_classes]), tf.constant(0.0)]
        return [labels, predicted, tf.constant(self.distillation, tf.float32)]

    def _one_path(self, x, targets, path, sums, learning_rate, gradients):
        """(gradient of x, *what the loss returns, the tail's gradients added to `sums`)."""
        passed = []
        for block, choice in zip(self.supernet.choice_blocks, path.tolist(), strict=True):
            candidate = block.candidates[choice]
            layer = self._layers.layer(candidate, x)
            y, *residuals = layer.forward([x, *layer.handles])
            passed.append((candidate, layer, x, residuals))
            x = y
        tail = self._layers.tail(x, *targets)
        returned = tail.forward([x, *targets, *tail.handles, *sums])
        (*figures, dx), sums = returned[: -len(sums)], returned[-len(sums) :]
        rate = [] if self.rule.momentum is None else [learning_rate]
        del y, residuals
        while passed:  # what a layer kept is let go as soon as it was used
            candidate, layer, x, residuals = passed.pop()
            dx, *found = layer.backward([x, *layer.handles, *residuals, dx, *rate, *layer.slots])
            if found:
                _add(gradients, candidate, found)
        return dx, *figures, sums


def _add(gradients: dict, layer, further: list) -> None:
    """Add the gradients of a layer's variables to those that another path may have given them."""
    for variable, gradient in zip(layer.trainable_variables, further, strict=True):
        before = gradients.get(variable.path)
        gradients[variable.path] = gradient if before is None else before + gradient


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
