"""The fair step's paths one after another, in the memory of one, and with the work of one path for each."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from scarlet_tf.evaluation.layer_functions import signature
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.optimizers import Loss
from scarlet_tf.training.pieces import (
    ZERO,
    Function,
    Graph,
    Piece,
    Rule,
    call_layer,
    decayed,
    make_piece,
    unscaled,
    variables_of,
)


@dataclasses.dataclass(frozen=True)
class BoundPiece:
    """A piece with the handles of one layer's own variables and momentums."""

    forward: Function
    backward: Any  # None of the tail, whose forward function answers gradients, too
    handles: list
    slots: list


class Pieces:
    """The pieces of one supernet, made when first asked for; pieces of layers of one configuration are shared.

    Args:
        rule: what becomes of the choices' weights. Those of stem and tail are never moved here.
        slots: {variable path: momentum variable}, for a rule with a momentum above 0.
    """

    def __init__(self, supernet: Supernet, loss: Loss, rule: Rule, slots: dict | None = None, training: bool = True):
        self.supernet, self.loss, self.rule, self.training = supernet, loss, rule, training
        self._slots = slots or {}
        self._pieces: dict[str, Piece] = {}  # for all layers of one configuration and replicas
        self._tails: dict[str, Function] = {}
        self._bound: dict[tuple, BoundPieces] = {}  # those of one replica and size of image, by the layer's identity

    def bind(self, images, labels) -> BoundPieces:
        """Variables of the current replica, for images and labels of these shapes."""
        key = (_replica(), tuple(images.shape), tuple(labels.shape))
        if key not in self._bound:
            self._bound[key] = BoundPieces(self)
        return self._bound[key]

    def of_layer(self, layer, x) -> BoundPiece:
        stem = layer is self.supernet.stem
        key = f"{signature(layer)} {x.dtype} {x.shape}"
        if key not in self._pieces:
            rule = dataclasses.replace(self.rule, momentum=None) if stem else self.rule
            self._pieces[key] = make_piece(layer, tf.TensorSpec(x.shape, x.dtype), self.training, rule)
            gc.collect(1)  # the whole graph is a cycle, and larger than what the layer's step takes
        moved = layer.trainable_variables if self.rule.momentum and not stem else []
        made, slots = self._pieces[key], [self._slots[v.path] for v in moved]
        return BoundPiece(made.forward, made.backward, _handles(variables_of(layer)), _handles(slots))

    def of_tail(self, x, labels) -> BoundPiece:
        tail = self.supernet.tail
        key = f"{x.dtype} {x.shape} {labels.dtype} {labels.shape}"
        if key not in self._tails:
            self._tails[key] = tail_function(tail, self.loss, x, labels, self.training, self.rule)
        return BoundPiece(self._tails[key], None, _handles(variables_of(tail)), [])


class BoundPieces:
    """The pieces of one replica and size of image."""

    def __init__(self, pieces: Pieces):
        self._pieces = pieces
        self._bound: dict[int, BoundPiece] = {}

    def layer(self, layer, x) -> BoundPiece:
        """The piece of the stem or of a candidate that reads x."""
        if id(layer) not in self._bound:
            self._bound[id(layer)] = self._pieces.of_layer(layer, x)
        return self._bound[id(layer)]

    def tail(self, x, labels) -> BoundPiece:
        """Function of the tail with the loss; see `tail_function`."""
        tail = self._pieces.supernet.tail
        if id(tail) not in self._bound:
            self._bound[id(tail)] = self._pieces.of_tail(x, labels)
        return self._bound[id(tail)]


class Paths:
    """Runs paths of one supernet forward and backward, layer by layer, from Python: call it eagerly.

    Args:
        rule: what happens to the choices' weights as soon as their gradients are there. Without a momentum the
            gradients are answered with those of stem and tail, which nothing here moves.
        slots: {variable path: momentum variable}, for a rule with a momentum above 0.
    """

    def __init__(self, supernet: Supernet, loss: Loss, rule: Rule, slots: dict | None = None, training: bool = True):
        self.supernet, self.rule = supernet, rule
        self._pieces = Pieces(supernet, loss, rule, slots, training)

    def __call__(self, images, labels, paths, learning_rate=None):
        """(summed loss, summed accuracy, {variable path: gradient}), with L2.

        `paths` are integers [num_paths, num_layers]; no choice may be in two of them. The stem runs once; its gradients
        are those of the sum that comes back to it.
        """
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
        stem, tail = self.supernet.stem, self.supernet.tail
        bound = self._pieces.bind(images, labels)
        piece = bound.layer(stem, images)
        features, *residuals = piece.forward([images, *piece.handles])
        zeros = [tf.zeros(v.shape, v.dtype) for v in tail.trainable_variables]
        sums = decayed(zeros, [tf.convert_to_tensor(v) for v in tail.trainable_variables], self.rule.decay)
        loss = accuracy = upstream = None
        gradients: dict = {}
        for path in np.asarray(paths):
            path_loss, hits, dx, sums = self._one_path(bound, features, labels, path, sums, learning_rate, gradients)
            loss = path_loss if loss is None else loss + path_loss
            accuracy = hits if accuracy is None else accuracy + hits
            upstream = dx if upstream is None else upstream + dx
        _, *stem_gradients = piece.backward([images, *piece.handles, *residuals, upstream])
        gradients |= _by_path(stem, stem_gradients) | _by_path(tail, sums)
        return loss, accuracy, gradients

    def _one_path(self, bound: BoundPieces, x, labels, path, sums, learning_rate, gradients):
        """(loss, accuracy, gradient of x, the tail's gradients added to `sums`)."""
        passed = []
        for block, choice in zip(self.supernet.choice_blocks, path.tolist(), strict=True):
            candidate = block.candidates[choice]
            piece = bound.layer(candidate, x)
            y, *residuals = piece.forward([x, *piece.handles])
            passed.append((candidate, piece, x, residuals))
            x = y
        tail = bound.tail(x, labels)
        loss, accuracy, dx, *sums = tail.forward([x, labels, *tail.handles, *sums])
        rate = [] if self.rule.momentum is None else [learning_rate]
        del y, residuals
        while passed:  # what a layer kept is let go as soon as it was used
            candidate, piece, x, residuals = passed.pop()
            dx, *found = piece.backward([x, *piece.handles, *residuals, dx, *rate, *piece.slots])
            if found:
                gradients |= _by_path(candidate, found)
        return loss, accuracy, dx, sums


class Gates:
    """Derivatives of a path's loss by a weight on each choice's output: ProxylessNAS' gates.

    The output of a layer is seen as sum_j g_j y_j over the choices j, with g = 1 for the path's choice and 0 for the others;
    y_j is what choice j answers to the path's own features. dO/dg_j is then the sum of dO/dy * y_j over the layer's output.
    Nothing is trained: neither weights nor BN's statistics move. BN normalises by the batch, as in training.
    """

    def __init__(self, supernet: Supernet, loss: Loss, scale: float = 1.0, training: bool = True):
        self.supernet, self.scale = supernet, scale
        self._pieces = Pieces(supernet, loss, Rule(scale=scale, frozen=True), training=training)

    def __call__(self, images, labels, path, choices):
        """(loss, accuracy, dO/dg float32 [num_layers, num_choices]) of one path, int [num_layers].

        `choices`: bool [num_layers, num_choices], which of them are evaluated, the path's among them; the others are not
        run, and answered with 0.
        """
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
        choices = np.asarray(choices, bool)
        bound, passed = self._pieces.bind(images, labels), []
        piece = bound.layer(self.supernet.stem, images)
        x, *_ = piece.forward([images, *piece.handles])
        for block, choice, wanted in zip(self.supernet.choice_blocks, path, choices, strict=True):
            if not wanted[choice]:
                raise ValueError(f"{block.name}: the path's choice {choice} is not among those evaluated")
            outputs = {}
            for other in np.flatnonzero(wanted):
                piece = bound.layer(block.candidates[other], x)
                outputs[other], *residuals = piece.forward([x, *piece.handles])
                if other == choice:
                    kept = (x, piece, residuals)
            passed.append((*kept, outputs))
            x = outputs[choice]
        tail = bound.tail(x, labels)
        loss, accuracy, dy = tail.forward([x, labels, *tail.handles])
        gates = []
        del residuals, kept, outputs
        while passed:
            x, piece, residuals, outputs = passed.pop()
            products = _inner_products(dy, outputs.values()) / self.scale
            gates.append(tf.scatter_nd(np.array(list(outputs))[:, None], products, [choices.shape[1]]))
            if passed:  # nothing reads the gradient of the stem's output
                (dy,) = piece.backward([x, *piece.handles, *residuals, dy])
        return loss, accuracy, tf.stack(gates[::-1])


def _inner_products(dy, outputs: Iterable):
    dy = tf.cast(dy, tf.float32)
    return tf.stack([tf.reduce_sum(dy * tf.cast(y, tf.float32)) for y in outputs])


def _replica() -> int:
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)


def _handles(variables) -> list:
    """Under a strategy, those of the replica that asks."""
    return [v.value.handle for v in variables]


def _by_path(layer, gradients: list) -> dict:
    return {v.path: g for v, g in zip(layer.trainable_variables, gradients, strict=True)}


def tail_function(tail, loss: Loss, x, labels, training: bool, rule: Rule) -> Function:
    """`function([x, labels, *handles, *sums]) -> [loss, accuracy, dx, *sums plus the weights' gradients]`.

    Under a frozen rule there are no sums.
    """

    def trace(x, labels, *rest):
        *sums, variables = rest
        (value, accuracy), moves = call_layer(tail, variables, lambda: loss(labels, tail(x, training=training)))
        moved = variables.weights if sums else []
        dx, *gradients = tf.gradients(value * rule.scale, [x, *moved], unconnected_gradients=ZERO)
        gradients = unscaled(gradients, rule.scale)
        added = [a + b for a, b in zip(sums, gradients, strict=True)]
        return value, accuracy, dx, *added, [] if rule.frozen else moves

    weights = [] if rule.frozen else tail.trainable_variables
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in (x, labels, *(v.value for v in weights))]
    graph = Graph(trace, specs, tail, Rule())
    *outputs, moves = graph.results
    x, labels, *sums = graph.inputs
    return graph.pruned([x, labels, *graph.handles, *sums], outputs, moves)
