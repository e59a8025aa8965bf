"""Large depthwise convolutions cut into parts that CPU kernels are made for."""

from __future__ import annotations

import keras

from scarlet_tf.layers.split_depthwise import MAX_TAPS, SplitDepthwiseConv2D


def split_depthwise(model: keras.Model) -> keras.Model:
    """A functional model that computes the same, with every depthwise convolution of more than 25 taps split.

    The model itself where there is none.
    """
    large = {layer.name for layer in model.layers if _is_large(layer)}
    if not large:
        return model
    split = keras.models.clone_model(model, clone_function=lambda layer: _copy(layer, layer.name in large))
    for layer in filter(lambda layer: layer.weights, model.layers):
        split.get_layer(layer.name).set_weights(layer.get_weights())
    return split


def _is_large(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.DepthwiseConv2D) or isinstance(layer, SplitDepthwiseConv2D):
        return False
    rows, columns = layer.kernel_size
    plain = layer.depth_multiplier == 1 and set(layer.dilation_rate) == {1} and len(set(layer.strides)) == 1
    keeps_sides = layer.padding == "valid" or set(layer.strides) == {1}
    last = layer.data_format == "channels_last"
    return rows * columns > MAX_TAPS and rows == columns and plain and keeps_sides and last


def _copy(layer: keras.layers.Layer, split: bool) -> keras.layers.Layer:
    kind = SplitDepthwiseConv2D if split else type(layer)
    return kind.from_config(layer.get_config())
