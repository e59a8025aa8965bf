"""A NetworkSpec in tf_keras, as tensorflow-model-optimization requires; weights are transferred by name.

Only the worker process imports this module.
"""

from __future__ import annotations

import numpy as np
import tf_keras

from scarlet_tf.layers.builder import connect
from scarlet_tf.optimization import parts
from scarlet_tf.optimization.strips import split_arrays, split_parts
from scarlet_tf.spec import NetworkSpec

Arrays = dict[str, np.ndarray]
# Names of Keras 3 that differ in tf_keras.
_KERAS_3_NAMES = {"depthwise_kernel": "kernel"}


def build_twin(spec: NetworkSpec, arrays: Arrays, for_xnnpack: bool = False) -> tf_keras.Model:
    """The network of `spec` with the weights {"<layer>/<weight>": array} of its Keras 3 form; each is used once.

    for_xnnpack: with large depthwise convolutions in strips, whose weights have other names; see `strips`.
    """
    image = tf_keras.Input(spec.input_shape, name="image")
    model = tf_keras.Model(image, connect(spec, image, split_parts() if for_xnnpack else parts))
    if for_xnnpack:
        arrays = split_arrays(arrays, {layer.name for layer in model.layers}, spec.conventions.bn_epsilon)
    set_twin_arrays(model, arrays)
    return model


def set_twin_arrays(model: tf_keras.Model, arrays: Arrays) -> None:
    """Set weights by their Keras 3 names; ValueError if one is missing or left over."""
    weights = _by_name(model)
    if weights.keys() != arrays.keys():
        raise ValueError(f"weights: only one side has {sorted(weights.keys() ^ arrays.keys())}")
    for name, weight in weights.items():
        weight.assign(arrays[name])


def get_twin_arrays(model: tf_keras.Model) -> Arrays:
    """The weights by their Keras 3 names."""
    return {name: weight.numpy() for name, weight in _by_name(model).items()}


def _by_name(model: tf_keras.Model) -> dict:
    return {f"{layer.name}/{_keras_3_name(w)}": w for layer in model.layers for w in layer.weights}


def _keras_3_name(weight) -> str:
    name = weight.name.rpartition("/")[2].removesuffix(":0")
    return _KERAS_3_NAMES.get(name, name)
