"""The layers of `scarlet_tf.layers.primitives` in tf_keras, for the builder; same names, same arithmetic.

Activations are layers of their own, where tfmot can see them. Initial values do not matter: weights come from Keras 3.
Only the worker process imports this module.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable("scarlet_tf")
class HardSwish(tf_keras.layers.Layer):
    """x * relu6(x + 3) / 6, in a form that the converter turns into HARD_SWISH."""

    def call(self, inputs):
        return inputs * tf.nn.relu6(inputs + 3.0) * (1.0 / 6.0)


@tf_keras.utils.register_keras_serializable("scarlet_tf")
class ShiftedReLU6(tf_keras.layers.Layer):
    """relu6(x + 3): six times the hard sigmoid."""

    def call(self, inputs):
        return tf.nn.relu6(inputs + 3.0)


@tf_keras.utils.register_keras_serializable("scarlet_tf")
class Sixth(tf_keras.layers.Layer):
    """x / 6."""

    def call(self, inputs):
        return inputs * (1.0 / 6.0)


@tf_keras.utils.register_keras_serializable("scarlet_tf")
class Subsample(tf_keras.layers.Layer):
    """Every `stride`-th pixel of [B, H, W, C], the first one included, by a convolution: XNNPACK has no strided slice."""

    def __init__(self, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs):
        one = tf.ones((1, 1, inputs.shape[-1], 1), inputs.dtype)
        return tf.nn.depthwise_conv2d(inputs, one, [1, self.stride, self.stride, 1], "VALID")

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@tf_keras.utils.register_keras_serializable("scarlet_tf")
class PadChannels(tf_keras.layers.Layer):
    """[B, H, W, C] with `extra` channels of zeros appended."""

    def __init__(self, extra: int, **kwargs):
        super().__init__(**kwargs)
        self.extra = extra

    def call(self, inputs):
        return tf.pad(inputs, [[0, 0], [0, 0], [0, 0], [0, self.extra]])

    def get_config(self):
        return {**super().get_config(), "extra": self.extra}


def conv(out_channels, kernel_size, name, seed, stride=1, padding="valid"):
    """A convolution without bias, with padding "same" at stride 1, and else as given."""
    del seed
    padding = "same" if stride == 1 else padding
    return tf_keras.layers.Conv2D(out_channels, kernel_size, stride, padding, use_bias=False, name=name)


def depthwise_conv(channels, kernel_size, name, seed, stride=1, padding="valid"):
    """A depthwise convolution without bias, with padding "same" at stride 1, and else as given."""
    del channels, seed
    padding = "same" if stride == 1 else padding
    return tf_keras.layers.DepthwiseConv2D(kernel_size, stride, padding, use_bias=False, name=name)


def gate_conv(out_channels, kind, name, seed):
    """One of the two 1x1 convolutions of squeeze-and-excitation, and its activation as further layers."""
    del seed
    layers = [tf_keras.layers.Conv2D(out_channels, 1, name=name)]
    if kind == "hard_sigmoid":
        layers += [ShiftedReLU6(name=f"{name}_clip"), Sixth(name=f"{name}_gate")]
    else:
        layers.append(activation(kind, f"{name}_act"))
    return lambda x: _chain(layers, x)


def dense(units, in_channels, name, seed, activation=None, dtype=None, use_bias=True):
    """A dense layer: the classifier, or the head in front of it."""
    del in_channels, seed
    return tf_keras.layers.Dense(units, activation=activation, use_bias=use_bias, dtype=dtype, name=name)


def symmetric_padding(kernel_size, name):
    """Zeros on all four sides, k // 2 wide."""
    return tf_keras.layers.ZeroPadding2D(kernel_size // 2, name=name)


def mean_pool(name, keepdims=False):
    """The mean over height and width."""
    return tf_keras.layers.GlobalAveragePooling2D(keepdims=keepdims, name=name)


def batch_norm(name, epsilon, momentum):
    """Batch normalisation over the channels."""
    return tf_keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)


def activation(kind, name):
    """`hard_swish`, `silu`, `sigmoid`, `relu6` or `relu`."""
    if kind == "hard_swish":
        return HardSwish(name=name)
    if kind in ("sigmoid", "silu"):
        return tf_keras.layers.Activation({"silu": "swish"}.get(kind, kind), name=name)
    return tf_keras.layers.ReLU(6.0 if kind == "relu6" else None, name=name)


def add(name):
    """The sum of two tensors."""
    return tf_keras.layers.Add(name=name)


def multiply(name):
    """The product of a tensor and its gate."""
    return tf_keras.layers.Multiply(name=name)


def dropout(rate, name, seed):
    """Dropout; the process' seed decides its draws."""
    del seed
    return tf_keras.layers.Dropout(rate, name=name)


def subsampling(stride, name):
    """Every `stride`-th pixel."""
    return Subsample(stride, name=name)


def pad_channels(x, extra):
    """The tensor with `extra` channels of zeros appended."""
    return x if extra == 0 else PadChannels(extra)(x)


def _chain(layers, x):
    for layer in layers:
        x = layer(x)
    return x
