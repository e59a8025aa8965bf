"""A layer's training step as two functions, forward and backward, with what passes between them made explicit.

TensorFlow can differentiate a `switch` over layers, but then every branch answers the intermediate tensors of all the
others, and a gradient, mostly zeros, for all the weights of all of them. With a forward that answers its intermediate
tensors as one value, and a backward that takes them, a branch is just its own work.
"""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class SplitLayer:
    """What `split` answers.

    forward: `forward(x, *weights) -> [y, *statistics, *residuals]`, all flat lists of tensors.
    backward: `backward(x, *weights, *residuals, dy) -> [dx, *weight gradients]`.
    output: of y; residuals: of the residuals: their specs.
    """

    forward: object
    backward: object
    output: tf.TensorSpec
    residuals: tuple[tf.TensorSpec, ...]


def split(layer: keras.layers.Layer, x: tf.TensorSpec, training: bool) -> SplitLayer:
    """`layer(x, training=training)` and its gradient as pure functions of x and the layer's trainable weights.

    Both hold no variable, so layers of the same configuration share them. Statistics are new values for those of the
    layer's non-trainable variables that the call assigns, in their order.
    """
    weights = layer.trainable_variables
    output = _output_spec(layer, x)

    def both(x, dy, *values):
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))) as scope:
            y = layer(x, training=training)
        statistics = [scope.get_current_value(v) for v in layer.non_trainable_variables]
        statistics = [value for value in statistics if value is not None]
        gradients = tf.gradients(y, [x, *values], dy, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [y, statistics, gradients]

    specs = [x, output, *(tf.TensorSpec(w.shape, w.dtype) for w in weights)]
    whole = tf.compat.v1.wrap_function(both, specs)
    x_input, dy, *values = whole.inputs
    y, statistics, gradients = whole.structured_outputs
    residuals = _residuals([x_input, *values], dy, gradients)
    return SplitLayer(
        forward=whole.prune([x_input, *values], [y, *statistics, *residuals]),
        backward=whole.prune([x_input, *values, *residuals, dy], gradients),
        output=output,
        residuals=tuple(tf.TensorSpec(r.shape, r.dtype) for r in residuals),
    )


def _output_spec(layer, x: tf.TensorSpec) -> tf.TensorSpec:
    shape = layer.compute_output_shape(tuple(x.shape))
    return tf.TensorSpec(shape, layer.compute_dtype)


def _residuals(inputs, dy, gradients) -> list:
    """Tensors that the gradient needs, that depend on the inputs, and that are made without dy."""
    behind_dy, behind_inputs = _consumers([dy]), _consumers(inputs)
    found, seen, queue = {}, set(), [g.op for g in gradients]
    while queue:
        operation = queue.pop()
        if operation in seen:
            continue
        seen.add(operation)
        for tensor in operation.inputs:
            if tensor.op in behind_dy:
                queue.append(tensor.op)
            elif tensor.op in behind_inputs and not any(tensor is x for x in inputs):
                found[tensor.ref()] = tensor
    return list(found.values())


def _consumers(tensors) -> set:
    """All operations that depend on one of the tensors, and the tensors' own."""
    reached, queue = set(), [tensor.op for tensor in tensors]
    while queue:
        operation = queue.pop()
        if operation not in reached:
            reached.add(operation)
            queue += [consumer for output in operation.outputs for consumer in output.consumers()]
    return reached
