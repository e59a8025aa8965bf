"""The layers that the builder connects, with the published defaults and initial weights.

Every function returns a new Keras layer. Convolutions have no bias and begin with N(0, sqrt(2 / (k * k * c_out))), depthwise ones
with c_out = their channels; the classifier begins with U(-1/sqrt(c_in), 1/sqrt(c_in)), as in the published code. Each layer's
draw depends on the seed and the layer's name alone, so it does not change when other layers are added, removed or built in
another order.
"""

from __future__ import annotations

import math
import zlib

import keras

from scarlet_tf.base.errors import InputError
from scarlet_tf.layers.core import Activation, BatchNormalization, Conv2D, DepthwiseConv2D, Subsample
from scarlet_tf.space.spec import PYTORCH


def derived_seed(seed: int | None, name: str) -> int | None:
    """A seed for the layer `name`, or None (a random one) when `seed` is None. Zero is a valid seed."""
    return None if seed is None else zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def conv_initializer(kernel_size: int, out_channels: int, seed: int | None, name: str):
    """N(0, sqrt(2 / (k * k * c_out)))."""
    stddev = math.sqrt(2.0 / (kernel_size**2 * out_channels))
    return keras.initializers.RandomNormal(0.0, stddev, seed=derived_seed(seed, name))


def classifier_initializer(in_channels: int, seed: int | None, name: str):
    """U(-1/sqrt(c_in), 1/sqrt(c_in)), for kernel and bias."""
    limit = 1.0 / math.sqrt(in_channels)
    return keras.initializers.RandomUniform(-limit, limit, seed=derived_seed(seed, name))


DATA_FORMAT = "channels_last"  # regardless of Keras' configuration: shapes here are [B, H, W, C]


def conv(
    out_channels: int, kernel_size: int, name: str, seed: int | None, stride: int = 1, padding="valid", dtype=None
):
    """A convolution without bias, with padding "same" at stride 1, and else as given."""
    return Conv2D(
        out_channels,
        kernel_size,
        strides=stride,
        padding="same" if stride == 1 else padding,
        data_format=DATA_FORMAT,
        use_bias=False,
        kernel_initializer=conv_initializer(kernel_size, out_channels, seed, name),
        dtype=dtype,
        name=name,
    )


def depthwise_conv(
    channels: int, kernel_size: int, name: str, seed: int | None, stride: int = 1, padding="valid", dtype=None
):
    """A depthwise convolution without bias, with padding "same" at stride 1, and else as given."""
    return DepthwiseConv2D(
        kernel_size,
        strides=stride,
        padding="same" if stride == 1 else padding,
        data_format=DATA_FORMAT,
        use_bias=False,
        depthwise_initializer=conv_initializer(kernel_size, channels, seed, name),
        dtype=dtype,
        name=name,
    )


def gate_conv(out_channels: int, activation: str, name: str, seed: int | None, dtype=None):
    """One of the two 1x1 convolutions of squeeze-and-excitation: with bias and activation."""
    return keras.layers.Conv2D(
        out_channels,
        1,
        data_format=DATA_FORMAT,
        activation=activation,
        kernel_initializer=conv_initializer(1, out_channels, seed, name),
        dtype=dtype,
        name=name,
    )


def symmetric_padding(kernel_size: int, name: str, dtype=None):
    """Zeros on all four sides, k // 2 wide; for convolutions of stride 2."""
    return keras.layers.ZeroPadding2D(kernel_size // 2, data_format=DATA_FORMAT, dtype=dtype, name=name)


def mean_pool(name: str | None = None, keepdims: bool = False, dtype=None):
    """The mean over height and width."""
    return keras.layers.GlobalAveragePooling2D(DATA_FORMAT, keepdims, dtype=dtype, name=name)


def max_pool(name: str, dtype=None):
    """The maximum over height and width."""
    return keras.layers.GlobalMaxPooling2D(DATA_FORMAT, dtype=dtype, name=name)


def batch_norm(name: str, dtype=None, epsilon: float = PYTORCH.bn_epsilon, momentum: float = PYTORCH.bn_momentum):
    """Batch normalisation over the channels."""
    return BatchNormalization(momentum=momentum, epsilon=epsilon, dtype=dtype, name=name)


def activation(kind: str, name: str, dtype=None):
    """`hard_swish` (x * relu6(x + 3) / 6), `silu` (x * sigmoid(x)), `relu6` or `relu`."""
    if kind == "hard_swish":
        return Activation("hard_silu", dtype=dtype, name=name)
    if kind == "silu":
        return Activation("silu", dtype=dtype, name=name)
    if kind == "relu6":
        return keras.layers.ReLU(max_value=6.0, dtype=dtype, name=name)
    if kind == "relu":
        return keras.layers.ReLU(dtype=dtype, name=name)
    raise InputError(f"activation: expected hard_swish, silu, relu6 or relu, got {kind!r}")


def add(name: str, dtype=None):
    """The sum of two tensors: the shortcut."""
    return keras.layers.Add(dtype=dtype, name=name)


def multiply(name: str, dtype=None):
    """The product of a tensor and its gate."""
    return keras.layers.Multiply(dtype=dtype, name=name)


def dropout(rate: float, name: str, seed: int | None, dtype=None):
    """Dropout, whose draws follow from `seed` and the name."""
    return keras.layers.Dropout(rate, seed=derived_seed(seed, name), dtype=dtype, name=name)


def dense(
    units: int, in_channels: int, name: str, seed: int | None, activation=None, dtype=None, use_bias: bool = True
):
    """A dense layer: the classifier, or the head in front of it."""
    return keras.layers.Dense(
        units,
        activation=activation,
        use_bias=use_bias,
        kernel_initializer=classifier_initializer(in_channels, seed, name),
        bias_initializer=classifier_initializer(in_channels, seed, name + "_bias"),
        dtype=dtype,
        name=name,
    )


def subsampling(stride: int, name: str, dtype=None):
    """Every `stride`-th pixel, the first one included."""
    return Subsample(stride, dtype=dtype, name=name)


def pad_channels(x, extra: int):
    """x [B, H, W, C] with `extra` channels of zeros appended."""
    return x if extra == 0 else keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, extra]])
