"""SplitDepthwiseConv2D: a depthwise convolution as a sum of smaller ones."""

from __future__ import annotations

import keras

from scarlet_tf.layers.core import DepthwiseConv2D

MAX_TAPS = 25
"""Of the largest depthwise kernel that XNNPACK has code for; others run channel by channel (docs/results.md)."""


def strips(kernel_size: int) -> list[tuple[int, int]]:
    """(first row, rows) of the strips of at most 25 taps that make up a square kernel of at most 25 x 25."""
    rows = max(1, MAX_TAPS // kernel_size)
    return [(row, min(rows, kernel_size - row)) for row in range(0, kernel_size, rows)]


@keras.saving.register_keras_serializable(package="scarlet_tf")
class SplitDepthwiseConv2D(DepthwiseConv2D):
    """keras.layers.DepthwiseConv2D with the same weights and, but for rounding, the same results, computed in strips.

    The kernel's rows are cut into strips of at most 25 taps; each convolves the rows of the input that it sees, and the
    sum is the whole convolution. Square kernels, one filter a channel, no dilation, channels last, a known height;
    padding "valid" where the stride is not 1.

    Args:
        zeros: pixels of zero on each side of the input, for padding "valid": it does the work of a ZeroPadding2D.
    """

    def __init__(self, *args, zeros: int = 0, **kwargs):
        super().__init__(*args, **kwargs)
        self.zeros = zeros

    def call(self, inputs):
        [size], [stride] = set(self.kernel_size), set(self.strides)
        if self.padding == "same" and (stride != 1 or self.zeros):
            raise ValueError(f"padding: expected 'valid' with stride {stride} and zeros {self.zeros}, got 'same'")
        before, after = ((size - 1) // 2, size // 2) if self.padding == "same" else (self.zeros, self.zeros)
        last = (inputs.shape[1] + before + after - size) // stride * stride  # the first padded row of the last output
        total = None
        for row, rows in strips(size):
            seen = _padded_rows(inputs, row - before, row + last + rows - before, (before, after))
            if seen is not None:
                kernel = self.kernel[row : row + rows]
                part = keras.ops.depthwise_conv(seen, kernel, stride, "valid", self.data_format)
                total = part if total is None else total + part
        if self.use_bias:
            total = total + self.bias
        return self.activation(total)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = (None if side is None else side + 2 * self.zeros for side in (height, width))
        return super().compute_output_shape((batch, *sides, channels))

    def get_config(self):
        return {**super().get_config(), "zeros": self.zeros}


def _padded_rows(x, start: int, end: int, columns: tuple[int, int]):
    """Rows `start` to `end` of x [B, H, W, C], zeros where there are none, and `columns` of zeros beside them.

    None if no row is of x. XNNPACK adds zeros in front of a convolution within the convolution; leaving out rows
    is a copy.
    """
    height = x.shape[1]
    if start >= height or end <= 0:
        return None
    rows = max(0, -start), max(0, end - height)
    x = x[:, max(0, start) : min(height, end)]
    return keras.ops.pad(x, ((0, 0), rows, columns, (0, 0))) if any((*rows, *columns)) else x
