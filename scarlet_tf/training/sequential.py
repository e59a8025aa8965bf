"""The fair step's paths one after another, in the memory of one, and with the work of one path for each."""

from __future__ import annotations

import json
from collections.abc import Callable

import tensorflow as tf

from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.splitting import SplitLayer, split

ZERO = tf.UnconnectedGradients.ZERO


class Paths:
    """Runs paths of one supernet forward and backward; call it while a graph is traced.

    Each layer is a `switch` over its choices, forward and backward. A candidate's gradients never leave its branch:
    they are handed to a `receive` there, so that candidates which a path does not use cost nothing.

    Args:
        loss: `loss(labels, logits) -> (loss, accuracy)`.
        receive: `receive(variables, gradients)`, given a candidate's own.
    """

    def __init__(self, supernet: Supernet, loss: Callable, receive: Callable, training: bool = True):
        self.supernet, self.loss, self.receive, self.training = supernet, loss, receive, training
        self._splits: dict[str, SplitLayer] = {}

    def __call__(self, images, labels, paths):
        """(summed loss, summed accuracy, {variable path: gradient} of stem and tail, summed over the paths).

        The stem runs once; its gradients are those of the sum that comes back to it.
        """
        paths = tf.convert_to_tensor(paths)
        stem, tail = self.supernet.stem.trainable_variables, self.supernet.tail.trainable_variables
        with tf.GradientTape() as tape:
            features = self.supernet.stem(images, training=self.training)

        def one_path(index, total, accuracy, sums):
            loss, hits, gradients = self._one_path(features, labels, paths[index])
            sums = [a + b for a, b in zip(sums, gradients, strict=True)]
            return index + 1, total + loss, accuracy + hits, sums

        sums = [tf.zeros_like(features), *(tf.zeros(v.shape, v.dtype) for v in tail)]
        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0), sums)
        num_paths = tf.shape(paths)[0]
        _, total, accuracy, (upstream, *tail_gradients) = tf.while_loop(
            lambda index, *_: index < num_paths, one_path, start, parallel_iterations=1
        )
        sources = [v.value for v in stem]
        stem_gradients = tape.gradient(features, sources, output_gradients=upstream, unconnected_gradients=ZERO)
        gradients = zip([*stem, *tail], [*stem_gradients, *tail_gradients], strict=True)
        return total, accuracy, {v.path: gradient for v, gradient in gradients}

    def _one_path(self, x, labels, path):
        """(loss, accuracy, gradients of x and of the tail's weights)."""
        blocks = self.supernet.choice_blocks
        inputs, residuals = [], []
        for layer, block in enumerate(blocks):
            inputs.append(x)
            x, residual = self._forward(block, path[layer], x)
            residuals.append(residual)
        tail = self.supernet.tail
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss, accuracy = self.loss(labels, tail(x, training=self.training))
        sources = [x, *(v.value for v in tail.trainable_variables)]
        dx, *tail_gradients = tape.gradient(loss, sources, unconnected_gradients=ZERO)
        for layer in reversed(range(len(blocks))):
            dx = self._backward(blocks[layer], path[layer], inputs[layer], residuals[layer], dx)
        return loss, accuracy, [dx, *tail_gradients]

    def _forward(self, block, choice, x):
        """(output, what the backward pass of the choice that ran needs, as one opaque tensor)."""
        spec = tf.TensorSpec(x.shape, x.dtype)

        def run(candidate):
            parts = self._split(candidate, spec)
            y, *others = parts.forward(x, *_values(candidate))
            num_residuals = len(parts.residuals)
            statistics, residuals = others[: len(others) - num_residuals], others[len(others) - num_residuals :]
            for variable, value in zip(candidate.non_trainable_variables, statistics, strict=bool(statistics)):
                variable.assign(value)
            return y, tf.raw_ops.OptionalFromValue(components=residuals) if residuals else tf.raw_ops.OptionalNone()

        y, residual = tf.switch_case(choice, [lambda c=c: run(c) for c in block.candidates])
        return tf.ensure_shape(y, self._split(block.candidates[0], spec).output.shape), residual

    def _backward(self, block, choice, x, residual, dy):
        """The gradient of x; those of the weights go to `receive`."""
        spec = tf.TensorSpec(x.shape, x.dtype)

        def run(candidate):
            parts = self._split(candidate, spec)
            residuals = _unpacked(residual, parts.residuals)
            dx, *gradients = parts.backward(x, *_values(candidate), *residuals, dy)
            if gradients:
                self.receive(candidate.trainable_variables, gradients)
            return dx

        return tf.ensure_shape(tf.switch_case(choice, [lambda c=c: run(c) for c in block.candidates]), x.shape)

    def _split(self, candidate, spec: tf.TensorSpec) -> SplitLayer:
        """Made once for all layers that compute the same."""
        config = candidate.get_config()
        for key in ("name", "seed"):
            config.pop(key, None)
        key = f"{type(candidate).__name__} {json.dumps(config, default=str, sort_keys=True)} {spec}"
        if key not in self._splits:
            with tf.init_scope():
                self._splits[key] = split(candidate, spec, self.training)
        return self._splits[key]


def _values(candidate) -> list:
    return [tf.convert_to_tensor(w.value) for w in candidate.trainable_variables]


def _unpacked(residual, specs) -> list:
    if not specs:
        return []
    return tf.raw_ops.OptionalGetValue(
        optional=residual, output_types=[s.dtype for s in specs], output_shapes=[s.shape for s in specs]
    )
