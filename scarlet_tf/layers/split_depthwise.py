"""SplitDepthwiseConv2D: a depthwise convolution as a sum of smaller ones."""

from __future__ import annotations

import keras

from scarlet_tf.layers.convolution import DepthwiseConv2D

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
    sum is the whole convolution. XNNPACK has code for 25 taps and none for more. Square kernels, one filter a channel,
    no dilation, channels last, a known height; padding "valid" where the stride is not 1.
    """

    def call(self, inputs):
        [size], [stride] = set(self.kernel_size), set(self.strides)
        if self.padding == "same" and stride != 1:
            raise ValueError(f"padding: expected 'valid' with stride {stride}, got 'same'")
        total = None
        for row, rows in strips(size):
            seen = self._seen(inputs, row, rows)
            if seen is not None:
                kernel = self.kernel[row : row + rows]
                part = keras.ops.depthwise_conv(seen, kernel, stride, "valid", self.data_format)
                total = part if total is None else total + part
        if self.use_bias:
            total = total + self.bias
        return self.activation(total)

    def _seen(self, inputs, row: int, rows: int):
        """The part of the input that these rows of the kernel see, padded; None where it is padding alone."""
        size, height = self.kernel_size[0], inputs.shape[1]
        if self.padding == "valid":
            return inputs[:, row : height - (size - row - rows)]
        before, after = (size - 1) // 2, size // 2
        above, below = before - row, row + rows - 1 - before  # negative: that many rows are not seen
        if max(-above, -below) >= height:
            return None
        seen = inputs[:, max(0, -above) : height - max(0, -below)]
        # Padding in front of a convolution is done by the convolution itself in XNNPACK; cutting rows is a copy.
        return keras.ops.pad(seen, ((0, 0), (max(0, above), max(0, below)), (before, after), (0, 0)))
