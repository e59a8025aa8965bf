"""The fair step's paths one after another, in the memory of one, and with the work of one path for each."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import tensorflow as tf

from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.losses import Loss
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
    backward: Function
    handles: list
    slots: list


class Paths:
    """Runs paths of one supernet forward and backward, layer by layer, from Python: call it eagerly.

    Args:
        rule: what happens to the choices' weights as soon as their gradients are there. Without a momentum the
            gradients are answered with those of stem and tail, which nothing here moves.
        slots: {variable path: momentum variable}, for a rule with a momentum above 0.
    """

    def __init__(self, supernet: Supernet, loss: Loss, rule: Rule, slots: dict | None = None, training: bool = True):
        self.supernet, self.loss, self.rule, self.training = supernet, loss, rule, training
        self._slots = slots or {}
        self._pieces: dict[str, Piece] = {}  # for all layers of one configuration and replicas
        self._bound: dict[tuple, dict] = {}  # those of one replica and size of image, by the layer's identity

    def __call__(self, images, labels, paths, learning_rate=None):
        """(summed loss, summed accuracy, {variable path: gradient}), with L2.

        `paths` are integers [num_paths, num_layers]; no choice may be in two of them. The stem runs once; its gradients
        are those of the sum that comes back to it.
        """
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
        stem, tail = self.supernet.stem, self.supernet.tail
        bound = self._bound.setdefault((_replica(), tuple(images.shape), tuple(labels.shape)), {})
        piece = self._bound_piece(bound, stem, images)
        features, *residuals = piece.forward([images, *piece.handles])
        zeros = [tf.zeros(v.shape, v.dtype) for v in tail.trainable_variables]
        sums = decayed(zeros, [tf.convert_to_tensor(v) for v in tail.trainable_variables], self.rule.decay)
        loss = accuracy = upstream = None
        gradients = {}
        for path in np.asarray(paths):
            path_loss, hits, dx, sums = self._one_path(bound, features, labels, path, sums, learning_rate, gradients)
            loss = path_loss if loss is None else loss + path_loss
            accuracy = hits if accuracy is None else accuracy + hits
            upstream = dx if upstream is None else upstream + dx
        _, *stem_gradients = piece.backward([images, *piece.handles, *residuals, upstream])
        gradients |= _by_path(stem, stem_gradients) | _by_path(tail, sums)
        return loss, accuracy, gradients

    def _one_path(self, bound, x, labels, path, sums, learning_rate, gradients):
        """(loss, accuracy, gradient of x, the tail's gradients added to `sums`)."""
        passed = []
        for block, choice in zip(self.supernet.choice_blocks, path.tolist(), strict=True):
            candidate = block.candidates[choice]
            piece = self._bound_piece(bound, candidate, x)
            y, *residuals = piece.forward([x, *piece.handles])
            passed.append((candidate, piece, x, residuals))
            x = y
        tail = self._bound_tail(bound, x, labels)
        loss, accuracy, dx, *sums = tail.forward([x, labels, *tail.handles, *sums])
        rate = [] if self.rule.momentum is None else [learning_rate]
        del y, residuals
        while passed:  # what a layer kept is let go as soon as it was used
            candidate, piece, x, residuals = passed.pop()
            dx, *found = piece.backward([x, *piece.handles, *residuals, dx, *rate, *piece.slots])
            if found:
                gradients |= _by_path(candidate, found)
        return loss, accuracy, dx, sums

    def _bound_piece(self, bound: dict, layer, x) -> BoundPiece:
        piece = bound.get(id(layer))
        if piece is None:
            key = f"{signature(layer)} {x.dtype} {x.shape}"
            stem = layer is self.supernet.stem
            if key not in self._pieces:
                rule = dataclasses.replace(self.rule, momentum=None) if stem else self.rule
                self._pieces[key] = make_piece(layer, tf.TensorSpec(x.shape, x.dtype), self.training, rule)
            slots = layer.trainable_variables if self.rule.momentum and not stem else []
            made, slots = self._pieces[key], [self._slots[v.path] for v in slots]
            piece = BoundPiece(made.forward, made.backward, _handles(variables_of(layer)), _handles(slots))
            bound[id(layer)] = piece
        return piece

    def _bound_tail(self, bound: dict, x, labels) -> BoundPiece:
        tail = self.supernet.tail
        piece = bound.get(id(tail))
        if piece is None:
            key = f"tail {x.dtype} {x.shape} {labels.dtype} {labels.shape}"
            if key not in self._pieces:
                self._pieces[key] = tail_function(tail, self.loss, x, labels, self.training, self.rule.scale)
            piece = bound[id(tail)] = BoundPiece(self._pieces[key], None, _handles(variables_of(tail)), [])
        return piece


def _replica() -> int:
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)


def _handles(variables) -> list:
    """Under a strategy, those of the replica that asks."""
    return [v.value.handle for v in variables]


def _by_path(layer, gradients: list) -> dict:
    return {v.path: g for v, g in zip(layer.trainable_variables, gradients, strict=True)}


def tail_function(tail, loss: Loss, x, labels, training: bool, scale: float = 1.0) -> Function:
    """`function([x, labels, *handles, *sums]) -> [loss, accuracy, dx, *sums plus the weights' gradients]`."""

    def trace(x, labels, *rest):
        *sums, variables = rest
        (value, accuracy), moves = call_layer(tail, variables, lambda: loss(labels, tail(x, training=training)))
        dx, *gradients = tf.gradients(value * scale, [x, *variables.weights], unconnected_gradients=ZERO)
        gradients = unscaled(gradients, scale)
        return value, accuracy, dx, *(a + b for a, b in zip(sums, gradients, strict=True)), moves

    weights = tail.trainable_variables
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in (x, labels, *(v.value for v in weights))]
    graph = Graph(trace, specs, tail, Rule())
    *outputs, moves = graph.results
    x, labels, *sums = graph.inputs
    return graph.pruned([x, labels, *graph.handles, *sums], outputs, moves)


def signature(layer) -> str:
    """Equal for layers that compute the same when their variables hold the same."""
    config = layer.get_config()
    for key in ("name", "seed"):
        config.pop(key, None)
    return f"{type(layer).__name__} {json.dumps(config, default=str, sort_keys=True)}"
