"""TiledDepthwiseConv2D: a depthwise convolution as a sum of smaller ones."""

from __future__ import annotations

import keras

from scarlet_tf.layers.convolution import DepthwiseConv2D

MAX_TAPS = 9


def tiles(kernel_size: int) -> list[tuple[int, int, int, int]]:
    """(row, column, rows, columns) of rectangles of at most 9 taps that make up a square kernel.

    3x3 as far as they fit, then the rest's columns and rows: six for a kernel of 7.
    """
    whole = kernel_size // 3 * 3
    rest = kernel_size - whole
    found = [(row, column, 3, 3) for row in range(0, whole, 3) for column in range(0, whole, 3)]
    if rest:
        length = MAX_TAPS // rest
        found += [(row, whole, min(length, whole - row), rest) for row in range(0, whole, length)]
        found += [(whole, start, rest, min(length, kernel_size - start)) for start in range(0, kernel_size, length)]
    return found


@keras.saving.register_keras_serializable(package="scarlet_tf")
class TiledDepthwiseConv2D(DepthwiseConv2D):
    """keras.layers.DepthwiseConv2D with the same weights and, but for rounding, the same results, computed tile by tile.

    Each tile of `tiles` convolves the part of the padded input that it sees; the sum is the whole convolution. More
    memory traffic, but XNNPACK has a quick kernel for 9 taps and none for more than 25. Square kernels, one filter a
    channel, no dilation, channels last.
    """

    def call(self, inputs):
        [size] = set(self.kernel_size)
        [stride] = set(self.strides)
        _, height, width, _ = inputs.shape
        if self.padding == "same":
            if stride != 1:
                raise ValueError(f"padding: expected 'valid' with stride {stride}, got 'same'")
            before, after = (size - 1) // 2, size // 2
            inputs = keras.ops.pad(inputs, ((0, 0), (before, after), (before, after), (0, 0)))
            height, width = height + size - 1, width + size - 1
        rows, columns = ((side - size) // stride * stride for side in (height, width))
        total = None
        for row, column, tile_rows, tile_columns in tiles(size):
            seen = inputs[:, row : row + rows + tile_rows, column : column + columns + tile_columns]
            kernel = self.kernel[row : row + tile_rows, column : column + tile_columns]
            part = keras.ops.depthwise_conv(seen, kernel, stride, "valid", self.data_format)
            total = part if total is None else total + part
        if self.use_bias:
            total = total + self.bias
        return self.activation(total)
