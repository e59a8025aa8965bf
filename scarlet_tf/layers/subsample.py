"""Subsample: every n-th pixel of an image."""

from __future__ import annotations

import keras


def subsample(x, stride: int):
    """Every `stride`-th pixel of x [B, H, W, C], the first one included."""
    return x if stride == 1 else x[:, ::stride, ::stride, :]


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Subsample(keras.layers.Layer):
    """Subsampling that keeps every `stride`-th row and column, the first ones included.

    Args:
        stride: an integer >= 1.
        by_convolution: use a depthwise convolution with a filter of a single one, which is exact, too. XNNPACK has no
            strided slice, so a slice would cut the graph of a file into parts.

    Input [B, H, W, C], output [B, ceil(H / stride), ceil(W / stride), C].
    """

    def __init__(self, stride: int, by_convolution: bool = False, **kwargs):
        super().__init__(**kwargs)
        if stride < 1:
            raise ValueError(f"stride: expected an integer >= 1, got {stride!r}")
        self.stride = stride
        self.by_convolution = by_convolution

    def call(self, x):
        if not self.by_convolution:
            return subsample(x, self.stride)
        one = keras.ops.ones((1, 1, x.shape[-1], 1), x.dtype)
        return keras.ops.depthwise_conv(x, one, self.stride, "valid", "channels_last")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = (None if side is None else -(-side // self.stride) for side in (height, width))
        return (batch, *sides, channels)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride, "by_convolution": self.by_convolution}
