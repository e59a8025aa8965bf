"""Large depthwise convolutions cut into tiles that phones' kernels are made for."""

from __future__ import annotations

import keras

from scarlet_tf.layers.tiled_depthwise import TiledDepthwiseConv2D

LARGEST_QUICK_KERNEL = 25
"""Taps of the largest depthwise kernel that XNNPACK has code for; others run channel by channel (docs/results.md)."""


def tile_depthwise(model: keras.Model) -> keras.Model:
    """A functional model that computes the same, with every depthwise convolution of more than 25 taps tiled.

    The model itself where there is none.
    """
    large = {layer.name for layer in model.layers if _is_large(layer)}
    if not large:
        return model
    tiled = keras.models.clone_model(model, clone_function=lambda layer: _copy(layer, layer.name in large))
    for layer in model.layers:
        tiled.get_layer(layer.name).set_weights(layer.get_weights())
    return tiled


def _is_large(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.DepthwiseConv2D) or isinstance(layer, TiledDepthwiseConv2D):
        return False
    rows, columns = layer.kernel_size
    plain = layer.depth_multiplier == 1 and set(layer.dilation_rate) == {1} and len(set(layer.strides)) == 1
    keeps_sides = layer.padding == "valid" or set(layer.strides) == {1}
    last = layer.data_format == "channels_last"
    return rows * columns > LARGEST_QUICK_KERNEL and rows == columns and plain and keeps_sides and last


def _copy(layer: keras.layers.Layer, tiled: bool) -> keras.layers.Layer:
    kind = TiledDepthwiseConv2D if tiled else type(layer)
    return kind.from_config(layer.get_config())
