"""A Keras model as a .tflite file with static batch 1 and its metadata inside; in fewer bits by calibration after training."""

from __future__ import annotations

import itertools
import json
import logging
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import atomic_writer
from scarlet_tf.base.streams import quiet
from scarlet_tf.data.inputs import image_batches
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.splits import Split
from scarlet_tf.export import flatbuffer
from scarlet_tf.export.metadata import (
    INPUT_NAME,
    METADATA_NAME,
    TASK_METADATA_NAME,
    build_metadata,
    check_labels,
    image_shape,
    task_metadata,
    with_labels,
    write_sidecars,
)
from scarlet_tf.layers.core import Subsample, without_kernels
from scarlet_tf.layers.split_depthwise import MAX_TAPS, SplitDepthwiseConv2D

QUANTIZATIONS = ("none", "float16", "dynamic", "int8", "full_int8")
CALIBRATED = ("int8", "full_int8")
# In int8 this operation runs outside XNNPACK and cuts the graph into dozens of partitions, which costs more time than
# int8 saves; in float, between a DEQUANTIZE and a QUANTIZE, everything stays in one partition.
FLOAT_OPERATIONS = ("HARD_SWISH",)
CALIBRATION_IMAGES = 256
logger = logging.getLogger("scarlet_tf")
ONE_PARTITION = ("none", "float16", "int8", "int8_qat")
"""Quantizations whose graphs XNNPACK takes whole; in more parts they are slow, and something went wrong."""


def convert(
    new_converter: Callable[[], tf.lite.TFLiteConverter],
    quantization: str,
    calibration: np.ndarray | None = None,
    float_operations: Iterable[str] = FLOAT_OPERATIONS,
    float_ends: bool = True,
    sparse_storage: bool = False,
) -> bytes:
    """A TFLite flatbuffer.

    "none": float32. "float16": weights in float16. "dynamic": weights in int8, activations quantised while running.
    "int8": weights (per channel) and activations in int8, with ranges from `calibration` [N, H, W, C];
    `float_operations` stay in float. `float_ends=False` makes input and output int8, too. "full_int8": int8 alone, with
    int8 ends, for hardware that knows no floating point; elsewhere an h-swish in int8 makes it slow. `sparse_storage`,
    with "none": weights of many zeros are stored without them, and filled up again by DENSIFY.
    """
    if sparse_storage and quantization != "none":
        raise InputError(f"sparse_storage: expected quantization 'none' with it, got {quantization!r}")
    converter = new_converter()
    if quantization == "full_int8":
        return _convert_int8(converter, calibration, [], float_ends=False)
    if quantization == "int8":
        return _convert_int8(converter, calibration, list(float_operations), float_ends)
    if quantization != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if sparse_storage:
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def calibration_images(data, image_shape: tuple[int, ...], limit: int = CALIBRATION_IMAGES) -> np.ndarray:
    """At most `limit` images of `data` as float32 [N, H, W, C]: of a Split drawn from all classes, else the first.

    Some ten images already gave the digits network its float accuracy; one alone was visibly worse, and more than a
    few hundred change nothing. InputError without any.
    """
    if data is None:
        raise InputError("representative_data: int8 needs training images for its ranges, got none")
    if limit < 1:
        raise InputError(f"calibration_images: expected an integer >= 1, got {limit!r}")
    if isinstance(data, Split):
        data = data.take(min(limit, data.num_examples))
    images = itertools.chain.from_iterable(
        images for images, _ in image_batches(data, image_shape, "representative_data")
    )
    images = list(itertools.islice(images, limit))
    if not images:
        raise InputError("representative_data: int8 needs training images for its ranges, got an empty iterable")
    images = np.stack(images)
    if not np.isfinite(images).all():
        raise InputError("representative_data: expected finite values, got NaN or infinity")
    return images


def _convert_int8(converter, calibration: np.ndarray | None, float_operations: list[str], float_ends: bool) -> bytes:
    assert calibration is not None  # int8 takes images

    def representative_dataset():
        for image in calibration:
            yield [image[np.newaxis]]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    # The debugger is the public way to exempt operations by name; with fully_quantize=False its ends stay float.
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=float_operations, fully_quantize=not float_ends
    )
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=representative_dataset, debug_options=options
    )
    return debugger.get_nondebug_quantized_model()


def export_tflite(
    model: keras.Model,
    path,
    quantization: str = "none",
    representative_data=None,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    *,
    architecture=None,
    provenance: Mapping | None = None,
    num_calibration_images: int = CALIBRATION_IMAGES,
    float_operations: Iterable[str] = FLOAT_OPERATIONS,
    float_ends: bool = True,
    sparse_storage: bool = False,
    dynamic_batch: bool = False,
    for_xnnpack: bool = True,
) -> dict:
    """Writes `path`, `path` with suffix .json, and labels.txt beside it; returns `describe_tflite(path)`.

    Args:
        model: a functional model from float32 images [B, S, S, C], normalised, to logits [B, classes].
        quantization: "none", "float16", "dynamic", "int8" or "full_int8"; see quantization.convert.
        representative_data: for both int8 kinds: normalised training images; a Split, arrays or batches, with labels or without.
        labels, preprocessing, architecture, provenance: go into the metadata.
        num_calibration_images: how many images of `representative_data` are used at most.
        float_operations: for int8: operations that stay in float.
        float_ends: False gives an int8 file int8 input and output.
        sparse_storage: zeros of a pruned network take no room in the float32 file.
        dynamic_batch: the file's input may be resized to [B, S, S, C]; without it, B is always 1, which every
            runtime takes.
        for_xnnpack: see `rewrite_for_xnnpack`; right for CPUs, not measured for GPU and NPU delegates.

    The file's input is called "image", its output "logits". InputError names what does not fit.
    """
    host.check()
    path = pathlib.Path(path)
    if quantization not in QUANTIZATIONS:
        raise InputError(f"quantization: expected one of {list(QUANTIZATIONS)}, got {quantization!r}")
    batch_size = None if dynamic_batch else 1
    metadata = build_metadata(model, quantization, labels, preprocessing, architecture, provenance, batch_size)
    calibration = None
    if quantization in CALIBRATED:
        calibration = calibration_images(representative_data, image_shape(model), num_calibration_images)
    model = rewrite_for_xnnpack(model) if for_xnnpack else model
    with tempfile.TemporaryDirectory() as folder, quiet(), without_kernels():
        try:
            _write_graph(model, folder, batch_size)
        except (OSError, tf.errors.OpError) as error:
            raise InputError(f"{path}: could not be converted, for {folder} could not be written: {error}") from error
        content = convert(
            lambda: tf.lite.TFLiteConverter.from_saved_model(folder),
            quantization,
            calibration,
            float_operations,
            float_ends,
            sparse_storage,
        )
    return write_tflite(path, content, metadata)


def write_tflite(path, content: bytes, metadata: Mapping) -> dict:
    """Writes a converted graph to `path` with its ends named and its metadata inside, and the sidecars; describes it."""
    path = pathlib.Path(path)
    embedded = {
        METADATA_NAME: json.dumps(metadata, allow_nan=False).encode(),
        TASK_METADATA_NAME: task_metadata(metadata),
    }
    content = flatbuffer.rewrite(content, INPUT_NAME, metadata["output"]["name"], embedded)
    content = with_labels(content, metadata["labels"])
    with atomic_writer(path) as file:
        file.write(content)
    write_sidecars(path, metadata)
    description = describe_tflite(path)
    if description["partitions"] > 1 and metadata["quantization"] in ONE_PARTITION:
        logger.warning("%s: falls into %d partitions and may be slow", path, description["partitions"])
    return description


def load_tflite(path) -> tuple[Interpreter, bytes]:
    """An allocated interpreter with the file's content; InputError when it is missing, torn or not runnable."""
    path = pathlib.Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror or error}") from error
    if content[4:8] != b"TFL3":
        raise InputError(f"{path}: expected a .tflite file, got {len(content)} bytes of something else")
    try:
        with quiet():
            interpreter = Interpreter(model_content=content)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path}: torn, or with operations that are not built in: {str(error).strip()}") from error
    return interpreter, content


def describe_tflite(path) -> dict:
    """Size in bytes, operations, partitions, inputs and outputs, and embedded metadata (None without) of a file."""
    interpreter, content = load_tflite(path)
    operations = flatbuffer.count_operations(content)
    return {
        "bytes": len(content),
        "operations": operations,
        "builtins_only": not any(name.startswith("CUSTOM") for name in operations),
        "partitions": flatbuffer.count_partitions(interpreter),
        "inputs": [_tensor(detail) for detail in interpreter.get_input_details()],
        "outputs": [_tensor(detail) for detail in interpreter.get_output_details()],
        "metadata": _read_metadata(path, content),
    }


def _read_metadata(path, content: bytes) -> dict | None:
    """Data that `write_tflite` embedded; InputError if it, or the archive of labels after it, is damaged."""
    embedded = flatbuffer.read_metadata(content, METADATA_NAME)
    if embedded is None:
        return None
    try:
        metadata = json.loads(embedded)
        if not isinstance(metadata, dict):
            raise InputError(f"expected a JSON object, got {type(metadata).__name__}")
        if flatbuffer.read_metadata(content, TASK_METADATA_NAME) is not None:
            check_labels(content, metadata.get("labels"))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: its metadata are torn: {error}") from error
    return metadata


def _write_graph(model: keras.Model, folder: str, batch_size: int | None) -> None:
    """A SavedModel of one function. From concrete functions of a Keras 3 model the converter would silently make NaN.

    `model.export` would save the Keras object, too, which the converter has no use for and which takes longer than all else.
    """
    image = tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.float32, INPUT_NAME)
    bare = tf.Module()
    bare.weights = [variable.value for variable in model.variables]
    # Tensors are called after the model, and Keras numbers models: a fixed name keeps the number out of the file.
    named = keras.Model(model.inputs, model.outputs, name="network")
    serve = tf.function(lambda image: named(image, training=False), input_signature=[image])
    tf.saved_model.save(bare, folder, signatures=serve)


def _tensor(detail: Mapping) -> dict:
    shape = [None if side < 0 else side for side in detail["shape_signature"].tolist()]
    return {"name": detail["name"], "shape": shape, "dtype": detail["dtype"].__name__}


# -- A network rewritten for XNNPACK, LiteRT's kernels on CPUs: the same function by operations that it is quick at


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
