"""A network rewritten for XNNPACK, LiteRT's kernels on CPUs: the same function by operations that it is quick at."""

from __future__ import annotations

import keras

from scarlet_tf.layers.core import Subsample
from scarlet_tf.layers.split_depthwise import MAX_TAPS, SplitDepthwiseConv2D


def rewrite_for_xnnpack(model: keras.Model) -> keras.Model:
    """A functional model that computes the same; the model itself where nothing is to be rewritten.

    Depthwise convolutions of more than 25 taps become sums of smaller ones, and zeros that a layer puts in front of such
    a convolution alone are left to it. Pixels are left out by a convolution instead of a strided slice.
    """
    large = {layer.name: layer for layer in model.layers if _is_large(layer)}
    if not large and not any(isinstance(layer, Subsample) for layer in model.layers):
        return model
    pads = {name: pad for name, layer in large.items() if (pad := _zeros_before(model, layer)) is not None}
    needless = {pad.name for pad in pads.values()}

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in needless:
            return keras.layers.Identity(name=layer.name)
        if layer.name in large:
            zeros = pads[layer.name].padding[0][0] if layer.name in pads else 0
            return SplitDepthwiseConv2D.from_config({**config, "zeros": zeros})
        if isinstance(layer, Subsample):
            return Subsample.from_config({**config, "by_convolution": True})
        return type(layer).from_config(config)

    rewritten = keras.models.clone_model(model, clone_function=copy)
    for layer in filter(lambda layer: layer.weights, model.layers):
        rewritten.get_layer(layer.name).set_weights(layer.get_weights())
    return rewritten


def _is_large(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.DepthwiseConv2D) or isinstance(layer, SplitDepthwiseConv2D):
        return False
    rows, columns = layer.kernel_size
    plain = layer.depth_multiplier == 1 and set(layer.dilation_rate) == {1} and len(set(layer.strides)) == 1
    keeps_sides = layer.padding == "valid" or set(layer.strides) == {1}
    last = layer.data_format == "channels_last"
    return rows * columns > MAX_TAPS and rows == columns and plain and keeps_sides and last


def _zeros_before(model: keras.Model, depthwise: keras.layers.Layer) -> keras.layers.ZeroPadding2D | None:
    """The layer that puts as many zeros on each side of this one's input, and does nothing else."""
    for layer in model.layers:
        if not isinstance(layer, keras.layers.ZeroPadding2D) or layer.output is not depthwise.input:
            continue
        readers = sum(_reads(reader, layer.output) for reader in model.layers)
        needed = readers > 1 or any(output is layer.output for output in model.outputs)
        even = len(set(keras.tree.flatten(layer.padding))) == 1 and layer.data_format == "channels_last"
        if even and not needed and depthwise.padding == "valid":
            return layer
    return None


def _reads(layer: keras.layers.Layer, tensor) -> bool:
    return any(source is tensor for source in keras.tree.flatten(layer.input))
