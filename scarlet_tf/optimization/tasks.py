"""The worker's two tasks: a model to train, and its result. Only the worker process imports this module.

tfmot makes a Keras 2 copy with fake quantisation from a QuantizeConfig for every layer. Quantised are the tensors that the
converter will hold as int8: weights symmetrically per output channel, and the output of a layer unless the converter merges
the layer into another.
"""

from __future__ import annotations

import math
import pathlib
import tempfile
from typing import Any, assert_never

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from scarlet_tf.base.errors import InputError
from scarlet_tf.optimization import parts
from scarlet_tf.optimization.keras2_copy import Rows, build_keras2_copy, get_keras2_arrays
from scarlet_tf.optimization.ranges import clamped, debiased
from scarlet_tf.space.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec
from scarlet_tf.training.checkpoints import Checkpoints

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
MASK_CHANGES = 100


class QuantizationAware:
    """Training with fake quantisation; the result is a .tflite file."""

    SUFFIX = ".tflite"

    def __init__(self, spec: NetworkSpec, arrays, settings: dict):
        self.copy = build_keras2_copy(spec, arrays, for_xnnpack=True)
        self.model = quantized(self.copy)
        self.int8_ends = settings["int8_ends"]
        self._observe = tf.function(lambda images: self.model(images, training=True), reduce_retracing=True)
        self._begin_round()

    def measure(self, images: np.ndarray) -> dict:
        """Move the ranges by one batch."""
        self._observe(tf.constant(images))
        self._batches += 1
        return {}

    def end_round(self) -> dict:
        """Set the ranges to the means over this round's batches; the next round then sees activations that are not clipped."""
        for pair, starts in zip(output_ranges(self.model), self._starts, strict=True):
            means = [debiased(float(v), start, self._batches) for v, start in zip(pair, starts, strict=True)]
            for variable, value in zip(pair, clamped(*means), strict=True):
                variable.assign(value)
        self._begin_round()
        return {}

    def end_epoch(self) -> None:
        """Do nothing at an epoch's end."""

    def write(self, path: pathlib.Path) -> None:
        path.write_bytes(convert(self.model, self.copy, self.int8_ends))

    def _begin_round(self) -> None:
        self._batches = 0
        self._starts = [tuple(float(v) for v in pair) for pair in output_ranges(self.model)]


class Pruning:
    """Training while the least weights of the pointwise convolutions go to zero; the result is the weights."""

    SUFFIX = ".npz"

    def __init__(self, spec: NetworkSpec, arrays, settings: dict):
        copy = build_keras2_copy(spec, arrays)
        frequency = max(1, settings["ramp_steps"] // MASK_CHANGES)
        # The mask changes every `frequency` steps, and the step that reaches the sparsity has to be one of those.
        end = settings["ramp_steps"] // frequency * frequency
        names = pointwise_layers(spec)

        def wrap(layer):
            if layer.name not in names:
                return layer
            schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, settings["sparsity"], 0, end, frequency=frequency)
            return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule)

        self.model = tf_keras.models.clone_model(copy, clone_function=wrap)
        self._masks = tfmot.sparsity.keras.UpdatePruningStep()
        self._masks.set_model(self.model)
        self._masks.on_train_begin()

    def end_epoch(self) -> None:
        """Set masked weights to zero again after the last update."""
        self._masks.on_epoch_end(batch=-1)

    def write(self, path: pathlib.Path) -> None:
        arrays: dict[str, Any] = get_keras2_arrays(tfmot.sparsity.keras.strip_pruning(self.model))
        np.savez(path, **arrays)


def pointwise_layers(spec: NetworkSpec) -> set[str]:
    """Names of the 1x1 convolutions, those of squeeze-and-excitation excepted."""
    names = {"tail_conv"} if spec.first_channels is None else {"stem_project", "tail_conv"}
    for block in spec.blocks:
        if isinstance(block, InvertedResidualSpec):
            names |= {f"{block.name}_expand", f"{block.name}_project"} if block.expand else {f"{block.name}_project"}
        elif isinstance(block, LinearSpec):
            names.add(f"{block.name}_let")
        elif not isinstance(block, IdentitySpec):
            assert_never(block)
    return names


# -- Training steps of a task's model, and checkpoints of all that they change. Only the worker process imports this module


class Trainer:
    """Adam along a cosine, on softmax cross-entropy with label smoothing.

    Args:
        task: has a tf_keras `model` that returns logits, and `end_epoch()`.
        settings: learning_rate, label_smoothing, total_steps.
        folder: of the checkpoints.
        identity: facts that a checkpoint must match to be resumed from, in plain JSON types.
    """

    def __init__(self, task, settings: dict, folder, identity: dict):
        self.task = task
        schedule = tf_keras.optimizers.schedules.CosineDecay(settings["learning_rate"], max(1, settings["total_steps"]))
        self._optimizer = tf_keras.optimizers.Adam(schedule)
        self._optimizer.build(task.model.trainable_variables)
        self._loss = tf_keras.losses.CategoricalCrossentropy(True, settings["label_smoothing"])
        self._step = tf.function(self._train, reduce_retracing=True)
        self._checkpoints, self._identity = Checkpoints(folder), identity
        self._history: list[dict] = []
        self._begin_epoch()

    def restore(self) -> list[dict]:
        """Load the checkpoint and return the figures of the epochs done before; empty without a checkpoint."""
        meta = self._checkpoints.restore(self._variables(), {"identity": self._identity})
        self._history = meta["history"] if meta else []
        return self._history

    def step(self, images: np.ndarray, labels: np.ndarray) -> dict:
        """Make one update; labels int [B] or shares float [B, num_classes]."""
        targets = labels if labels.ndim == 2 else np.eye(self.task.model.output_shape[-1], dtype=np.float32)[labels]
        loss, accuracy = (float(value) for value in self._step(tf.constant(images), tf.constant(targets)))
        if not math.isfinite(loss):
            raise InputError(f"the loss became {loss}: try a smaller learning_rate")
        self._sums += (loss, accuracy, 1)
        return {"loss": loss, "accuracy": accuracy}

    def end_epoch(self) -> dict:
        """Save all variables and return the epoch's mean figures."""
        self.task.end_epoch()
        loss, accuracy = self._sums[:2] / max(1, self._sums[2])
        self._history.append({"loss": float(loss), "accuracy": float(accuracy)})
        meta = {"identity": self._identity, "history": self._history}
        self._checkpoints.save(len(self._history), self._variables(), meta)
        self._begin_epoch()
        return self._history[-1]

    def _train(self, images, targets):
        model = self.task.model
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = self._loss(targets, logits)
        variables = model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        hits = tf.equal(tf.argmax(logits, -1), tf.argmax(targets, -1))
        return loss, tf.reduce_mean(tf.cast(hits, tf.float32))

    def _variables(self) -> dict:
        # tf_keras gives several variables one name; their order is that of the layers.
        every = [*self.task.model.weights, *self._optimizer.variables]
        return {f"{index:05d}": variable for index, variable in enumerate(every)}

    def _begin_epoch(self) -> None:
        self._sums = np.zeros(3)


# -- fake quantisation --------------------------------------------------------------------------------------------------


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
