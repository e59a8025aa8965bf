"""Layers as compiled functions of tensors: no variable is read or written, so a layer has one set of statistics a prefix.

Layers of one configuration differ in nothing but their variables' values, which are arguments here: they share a trace.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import keras
import tensorflow as tf

from scarlet_tf.evaluation import kernels  # noqa: F401 - puts TensorFlow's kernels to use
from scarlet_tf.evaluation.batch_norm import packed
from scarlet_tf.evaluation.graphs import unoptimized

Function = Callable[[list], list]


def weights_of(layer: keras.layers.Layer) -> list:
    """Present values of the layer's trainable variables; not a copy."""
    return [tf.convert_to_tensor(variable) for variable in layer.trainable_variables]


def statistics_of(layer: keras.layers.Layer) -> tf.Tensor:
    """Present moving means and variances of the layer, as one vector."""
    return packed(layer.non_trainable_variables)


class LayerFunctions:
    """Runs built layers on batches of any size; traces once a configuration, on first use.

    `weights` and `statistics` are as `weights_of` and `statistics_of` have them.
    """

    def __init__(self):
        self._traced: dict[str, Function] = {}
        self._bound: dict[tuple, Function] = {}

    def infer(self, layer: keras.layers.Layer, weights: list, statistics: tf.Tensor, x) -> tf.Tensor:
        """The layer's output in inference mode, normalised by `statistics`."""
        return self._function(_infer, layer, x)([x, statistics, *weights])[0]

    def features(self, layer: keras.layers.Layer, weights: list, statistics: tf.Tensor, x) -> tf.Tensor:
        """The input [B, C] of a tail's classifier in inference mode, normalised by `statistics`."""
        return self._function(_features, layer, x)([x, statistics, *weights])[0]

    def observe(self, layer: keras.layers.Layer, weights: list, statistics: tf.Tensor, x) -> list[tf.Tensor]:
        """[output in training mode, `statistics` plus this batch's].

        A batch's are what it moves zeros to, times its number of images.
        """
        return self._function(_observe, layer, x)([x, statistics, *weights])

    def observe_only(self, layer: keras.layers.Layer, weights: list, statistics: tf.Tensor, x) -> tf.Tensor:
        """The statistics that `observe` returns; what follows the last batch normalisation is not computed."""
        return self._function(_observe_only, layer, x)([x, statistics, *weights])[0]

    def _function(self, kind: Callable, layer: keras.layers.Layer, x) -> Function:
        key = (kind, id(layer), x.dtype, *x.shape[1:])
        function = self._bound.get(key)
        if function is None:
            name = f"{kind.__name__} {signature(layer)} {x.dtype} {x.shape[1:]}"
            if name not in self._traced:
                self._traced[name] = _trace(kind, layer, x)
            function = self._bound[key] = self._traced[name]
        return function


def signature(layer) -> str:
    """Equal for layers that compute the same when their variables hold the same."""
    config = layer.get_config()
    for key in ("name", "seed"):
        config.pop(key, None)
    return f"{type(layer).__name__} {json.dumps(config, default=str, sort_keys=True)}"


def compiled(function: Callable, specs: list[tf.TensorSpec]) -> Function:
    """`function(*tensors) -> tensors`, traced now; takes a list and returns one.

    It is called without the Python around a tf.function, which takes longer than some layers do. On CPUs Grappler is left out:
    it finds nothing here that is worth the time that it takes for each function.
    """
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    types = [tensor.dtype for tensor in concrete.outputs]
    config = unoptimized()

    def call(arguments: list) -> list:
        return tf.raw_ops.PartitionedCall(args=arguments, Tout=types, f=concrete, config_proto=config)

    return call


def _trace(kind: Callable, layer: keras.layers.Layer, x) -> Function:
    sizes = [variable.shape[0] for variable in layer.non_trainable_variables]

    def run(x, statistics, *weights):
        return kind(layer, x, tf.split(statistics, sizes) if sizes else [], list(weights))

    weights = [tf.TensorSpec(variable.shape, variable.dtype) for variable in layer.trainable_variables]
    return compiled(run, [tf.TensorSpec((None, *x.shape[1:]), x.dtype), tf.TensorSpec([sum(sizes)]), *weights])


def _infer(layer, x, statistics: list, weights: list):
    return layer.stateless_call(weights, statistics, x, training=False)[0]


def _features(layer, x, statistics: list, weights: list):
    values = [*zip(layer.trainable_variables, weights, strict=True)]
    values += zip(layer.non_trainable_variables, statistics, strict=True)
    with keras.StatelessScope(values):
        return tf.cast(layer.features(x), tf.float32)


def _observe(layer, x, statistics: list, weights: list):
    y, moved = layer.stateless_call(weights, [tf.zeros_like(s) for s in statistics], x, training=True)
    return y, packed(statistics) + tf.cast(tf.shape(x)[0], tf.float32) * packed(moved)


def _observe_only(layer, x, statistics: list, weights: list):
    return _observe(layer, x, statistics, weights)[1]
