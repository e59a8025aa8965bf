"""Copy of a network in Keras 2 (tf_keras), as tensorflow-model-optimization requires; weights are transferred by name.

Only the worker process imports this module.
"""

from __future__ import annotations

import types

import numpy as np
import tensorflow as tf
import tf_keras

from scarlet_tf.layers.builder import connect
from scarlet_tf.layers.split_depthwise import MAX_TAPS, strips
from scarlet_tf.optimization import parts
from scarlet_tf.space.spec import NetworkSpec

Arrays = dict[str, np.ndarray]
# Names of Keras 3 that differ in tf_keras.
_KERAS_3_NAMES = {"depthwise_kernel": "kernel"}


def build_keras2_copy(spec: NetworkSpec, arrays: Arrays, for_xnnpack: bool = False) -> tf_keras.Model:
    """The network of `spec` with the weights {"<layer>/<weight>": array} of its Keras 3 form; each is used once.

    for_xnnpack: with large depthwise convolutions in strips, whose weights have other names; see `strips`.
    """
    image = tf_keras.Input(spec.input_shape, name="image")
    model = tf_keras.Model(image, connect(spec, image, split_parts() if for_xnnpack else parts))
    if for_xnnpack:
        arrays = split_arrays(arrays, {layer.name for layer in model.layers}, spec.conventions.bn_epsilon)
    set_keras2_arrays(model, arrays)
    return model


def set_keras2_arrays(model: tf_keras.Model, arrays: Arrays) -> None:
    """Set weights by their Keras 3 names; ValueError if one is missing or left over."""
    weights = _by_name(model)
    if weights.keys() != arrays.keys():
        raise ValueError(f"weights: only one side has {sorted(weights.keys() ^ arrays.keys())}")
    for name, weight in weights.items():
        weight.assign(arrays[name])


def get_keras2_arrays(model: tf_keras.Model) -> Arrays:
    """The weights by their Keras 3 names."""
    return {name: weight.numpy() for name, weight in _by_name(model).items()}


def _by_name(model: tf_keras.Model) -> dict:
    return {f"{layer.name}/{_keras_3_name(w)}": w for layer in model.layers for w in layer.weights}


def _keras_3_name(weight) -> str:
    name = weight.name.rpartition("/")[2].removesuffix(":0")
    return _KERAS_3_NAMES.get(name, name)


# -- Large depthwise convolutions of a copy in strips, as `export.xnnpack` writes them for LiteRT, with BN in their weights
#
# Fake quantisation must see the strips' sums, since the file holds these in int8. After a sum the converter cannot
# fold batch normalisation, so it is folded here. Only the worker process imports this module.


@tf_keras.utils.register_keras_serializable("scarlet_tf")
class Rows(tf_keras.layers.Layer):
    """Rows `start` to `end` of [B, H, W, C], zeros where there are none, and `columns` zeros on either side."""

    def __init__(self, start: int, end: int, columns: int, **kwargs):
        super().__init__(**kwargs)
        self.start, self.end, self.columns = start, end, columns

    def call(self, inputs):
        height = inputs.shape[1]
        zeros = [max(0, -self.start), max(0, self.end - height)]
        x = inputs[:, max(0, self.start) : min(height, self.end)]
        return tf.pad(x, [[0, 0], zeros, [self.columns] * 2, [0, 0]]) if self.columns or any(zeros) else x

    def get_config(self):
        return {**super().get_config(), "start": self.start, "end": self.end, "columns": self.columns}


class SplitDepthwise:
    """A square depthwise convolution as a sum, the first strip with a bias; the builder uses it as a layer."""

    def __init__(self, kernel_size: int, name: str, stride: int):
        self.kernel_size, self.name, self.stride = kernel_size, name, stride

    def __call__(self, x):
        size, height, total = self.kernel_size, x.shape[1], None
        zeros = size // 2 if self.stride == 1 else 0  # with a stride the zeros are present already
        last = (height + 2 * zeros - size) // self.stride * self.stride  # the first row of the last output
        for index, (row, rows) in enumerate(strips(size)):
            start, end = row - zeros, row + last + rows - zeros
            if start >= height or end <= 0:
                continue
            seen = Rows(start, end, zeros, name=f"{self.name}_rows_{index}")(x)
            conv = tf_keras.layers.DepthwiseConv2D(
                (rows, size), self.stride, use_bias=total is None, name=f"{self.name}_strip_{index}"
            )
            total = conv(seen) if total is None else parts.add(f"{self.name}_sum_{index}")([total, conv(seen)])
        return total


def split_parts() -> types.SimpleNamespace:
    """`parts` with large depthwise convolutions in strips, without their batch normalisation."""
    split = set()

    def depthwise_conv(channels, kernel_size, name, seed, stride=1, padding="valid"):
        if kernel_size**2 <= MAX_TAPS or (stride > 1 and padding == "same"):
            return parts.depthwise_conv(channels, kernel_size, name, seed, stride, padding)
        split.add(f"{name}_bn")
        return SplitDepthwise(kernel_size, name, stride)

    def batch_norm(name, epsilon, momentum):
        return (lambda x: x) if name in split else parts.batch_norm(name, epsilon, momentum)

    return types.SimpleNamespace(**{**vars(parts), "depthwise_conv": depthwise_conv, "batch_norm": batch_norm})


def split_arrays(arrays: dict[str, np.ndarray], layer_names: set[str], epsilon: float) -> dict[str, np.ndarray]:
    """A network's weights for its copy made of `split_parts`, whose layers have the names `layer_names`; BN's epsilon."""
    result = dict(arrays)
    for name in [key.removesuffix("/kernel") for key in arrays if key.endswith("_depthwise/kernel")]:
        if name in layer_names:
            continue
        kernel = result.pop(f"{name}/kernel")
        bn = {key: result.pop(f"{name}_bn/{key}") for key in ("gamma", "beta", "moving_mean", "moving_variance")}
        factor = bn["gamma"] / np.sqrt(bn["moving_variance"] + epsilon)
        kernel = kernel * factor[:, np.newaxis]
        bias = bn["beta"] - bn["moving_mean"] * factor
        for index, (row, rows) in enumerate(strips(kernel.shape[0])):
            strip = f"{name}_strip_{index}"
            if strip not in layer_names:  # it would see only zeros
                continue
            result[f"{strip}/kernel"] = kernel[row : row + rows]
            if bias is not None:
                result[f"{strip}/bias"], bias = bias, None
    return result
