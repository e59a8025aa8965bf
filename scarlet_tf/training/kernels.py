"""TensorFlow's own operations where keras.ops has none that are as fast; importing this module puts them to use."""

from __future__ import annotations

import functools

import tensorflow as tf

from scarlet_tf.layers import batch_norm, convolution


def fused_batch_norm(x, gamma, beta, epsilon: float):
    """`layers.batch_norm.normalize` by FusedBatchNormV3, which computes statistics and gradient in one kernel each."""
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    )
    # The operation answers the unbiased variance; Keras keeps the biased one.
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance * ((count - 1.0) / count))


def pointwise_conv(x, weights):
    """A 1x1 convolution; on CPUs a matrix product, which is quicker, forward and for the gradient of the weights."""
    x, weights = tf.convert_to_tensor(x), tf.convert_to_tensor(weights)
    if _has_gpu() or x.dtype != tf.float32 or None in x.shape[1:]:
        return tf.nn.conv2d(x, weights, 1, "SAME")
    *_, inner, outer = weights.shape
    y = tf.matmul(tf.reshape(x, (-1, inner)), tf.reshape(weights, (inner, outer)))
    return tf.reshape(y, (-1, *x.shape[1:-1], outer))


def depthwise_conv(x, weights, stride: int, padding: str):
    """A depthwise convolution whose gradient for the weights is quick on CPUs, too; see `_correlate`."""
    x, weights = tf.convert_to_tensor(x), tf.convert_to_tensor(weights)
    attributes = {"strides": [1, stride, stride, 1], "padding": padding.upper()}
    if not _correlating_is_quicker(x, weights, stride):
        return tf.nn.depthwise_conv2d(x, weights, **attributes)

    @tf.custom_gradient
    def run(x, weights):
        def grad(dy):
            dx = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(x), filter=weights, out_backprop=dy, **attributes
            )
            return dx, _correlate(x, dy, weights.shape[0], stride, weights.shape[0] // 2 if padding == "same" else 0)

        return tf.raw_ops.DepthwiseConv2dNative(input=x, filter=weights, **attributes), grad

    return run(x, weights)


@functools.cache
def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _correlating_is_quicker(x, weights, stride: int) -> bool:
    """Whether the gradient's own operation is slow: on CPUs, for large filters and for images of a few pixels."""
    if _has_gpu() or x.dtype != tf.float32 or None in x.shape[1:]:
        return False
    if weights.shape[0] >= 5:
        return True
    return stride == 1 and x.shape[1] <= 2


def _correlate(x, dy, size: int, stride: int, padding: int):
    """The gradient of a depthwise convolution's weights [size, size, C, 1].

    It is a correlation of x [B, H, W, C] with dy, image by image and channel by channel: a depthwise convolution of one
    image that has B * C channels, with dy as its filter. Where `_correlating_is_quicker` says so that is
    quicker than DepthwiseConv2dNativeBackpropFilter (tools/bench_kernels.py).
    """
    channels = x.shape[-1]
    taps = tf.raw_ops.DepthwiseConv2dNative(
        input=_as_channels(x)[tf.newaxis],
        filter=_as_channels(dy)[..., tf.newaxis],
        strides=[1, 1, 1, 1],
        padding="EXPLICIT" if padding else "VALID",
        explicit_paddings=[0, 0, padding, padding, padding, padding, 0, 0] if padding else [],
        dilations=[1, stride, stride, 1],
    )[0, :size, :size]
    return tf.reduce_sum(tf.reshape(taps, (size, size, -1, channels)), axis=2)[..., tf.newaxis]


def _as_channels(images):
    """[B, H, W, C] -> [H, W, B * C]."""
    _, height, width, channels = images.shape
    return tf.reshape(tf.transpose(images, (1, 2, 0, 3)), (height, width, tf.shape(images)[0] * channels))


batch_norm.use_kernel("tensorflow", fused_batch_norm)
convolution.use_kernel("tensorflow", "pointwise", pointwise_conv)
convolution.use_kernel("tensorflow", "depthwise", depthwise_conv)
