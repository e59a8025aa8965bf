"""A Keras 2 copy with fake quantisation, which tfmot makes from a QuantizeConfig for every layer, and its .tflite form.

Quantised are the tensors that the converter will hold as int8: weights symmetrically per output channel, and the output of a
layer unless the converter merges the layer into another. Only the worker process imports this module.
"""

from __future__ import annotations

import math
import tempfile

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from scarlet_tf.optimization import parts
from scarlet_tf.optimization.keras2_copy import Rows

_quantization = tfmot.quantization.keras
_WEIGHTS = {
    tf_keras.layers.Conv2D: "kernel",
    tf_keras.layers.DepthwiseConv2D: "depthwise_kernel",
    tf_keras.layers.Dense: "kernel",
}
# The output has the values of the input, so the converter gives it the same scale.
_PASSING = (tf_keras.layers.ZeroPadding2D, tf_keras.layers.Dropout, parts.PadChannels, Rows)
# Merged into the operation in front.
_MERGED = (tf_keras.layers.BatchNormalization, tf_keras.layers.ReLU, parts.ShiftedReLU6)
_LEAST, _GREATEST = "/output_min:0", "/output_max:0"
_WEIGHT_RANGES = ("kernel_min:0", "kernel_max:0")


@tf_keras.utils.register_keras_serializable("scarlet_tf")
class PerChannelQuantizer(_quantization.quantizers.LastValueQuantizer):  # type: ignore[name-defined]
    """Weights symmetrically in 8 bits, with a range for each output channel.

    tfmot's own takes the last axis, which in a depthwise kernel [k, k, C, 1] has one entry: one range for all channels.
    `axis`: of the output channels, -2 in such a kernel, else -1.
    """

    def __init__(self, axis: int):
        super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)
        self.axis = axis

    def build(self, tensor_shape, name, layer):
        return super().build(self._matrix(tensor_shape), name, layer)

    def __call__(self, inputs, training, weights, **kwargs):
        matrix = tf.reshape(inputs, self._matrix(inputs.shape))
        return tf.reshape(super().__call__(matrix, training, weights, **kwargs), inputs.shape)

    def get_config(self):
        return {"axis": self.axis}

    def _matrix(self, shape) -> tuple[int, int]:
        """[k, k, C, D] as [k * k * C, D], and [k, k, C, 1] as [k * k, C]."""
        return math.prod(shape) // shape[self.axis], shape[self.axis]


@tf_keras.utils.register_keras_serializable("scarlet_tf")
class LayerQuantization(_quantization.QuantizeConfig):  # type: ignore[name-defined]
    """`weight`: the attribute that holds the kernel, None to leave it alone; `output`: true if the output is quantised."""

    def __init__(self, weight: str | None, output: bool):
        self.weight, self.output = weight, output

    def get_weights_and_quantizers(self, layer):
        axis = -2 if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else -1
        return [(getattr(layer, self.weight), PerChannelQuantizer(axis))] if self.weight else []

    def set_quantize_weights(self, layer, quantize_weights):
        for weight in quantize_weights:
            setattr(layer, str(self.weight), weight)

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_activations(self, layer, quantize_activations):
        """Do nothing: activations are layers of their own."""

    def get_output_quantizers(self, layer):
        average = _quantization.quantizers.MovingAverageQuantizer
        return [average(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)] if self.output else []

    def get_config(self):
        return {"weight": self.weight, "output": self.output}


def quantized(copy: tf_keras.Model, quantize_weights: bool = True) -> tf_keras.Model:
    """The copy with fake quantisation, and batch normalisation that training does not change."""

    def annotate(layer):
        if isinstance(layer, tf_keras.layers.InputLayer):
            return layer
        weight = _WEIGHTS.get(type(layer)) if quantize_weights else None
        copy = type(layer).from_config(layer.get_config())
        return _quantization.quantize_annotate_layer(copy, LayerQuantization(weight, _quantizes_output(layer)))

    annotated = tf_keras.models.clone_model(copy, clone_function=annotate)
    annotated.set_weights(copy.get_weights())
    model = _quantization.quantize_apply(annotated)
    for wrapper in model.layers:
        if isinstance(getattr(wrapper, "layer", None), tf_keras.layers.BatchNormalization):
            wrapper.trainable = False
    return model


def output_ranges(model: tf_keras.Model) -> list[tuple[tf.Variable, tf.Variable]]:
    """The moving averages of the (least, greatest) values of every output that is quantised, the image excepted."""
    variables = {variable.name: variable for variable in model.weights}
    names = [name.removesuffix(_LEAST) for name in variables if name.endswith(_LEAST)]
    return [(variables[name + _LEAST], variables[name + _GREATEST]) for name in names]


def convert(model: tf_keras.Model, copy: tf_keras.Model, int8_ends: bool) -> bytes:
    """The quantised `model` of `copy` as a TFLite flatbuffer with batch 1.

    The converter folds batch normalisation into the weights first and then quantises them per channel, which gives the
    same numbers, since BN's factors are per channel, too. So its graph has no fake quantisation of weights; with
    it, the converter of TensorFlow 2.21 fails on depthwise kernels.
    """
    source = [v for v in model.weights if not v.name.endswith(_WEIGHT_RANGES)]
    copy = quantized(copy, quantize_weights=False)
    for target, variable in zip(copy.weights, source, strict=True):
        target.assign(variable)
    image = tf.TensorSpec((1, *copy.input_shape[1:]), tf.float32, name="image")
    serve = tf.function(lambda image: {"logits": copy(image, training=False)}, input_signature=[image])
    bare = tf.Module()  # saving `copy` itself would trace every layer's functions for loading it as a Keras model
    bare.weights = copy.weights
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(bare, folder, signatures=serve)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if int8_ends:
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()


def _quantizes_output(layer) -> bool:
    followers = [node.layer for node in layer.outbound_nodes]
    merged = len(followers) == 1 and isinstance(followers[0], _MERGED)
    return not merged and not isinstance(layer, _PASSING)
