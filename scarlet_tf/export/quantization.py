"""Weights and activations of a TFLite file in fewer bits, by calibration after training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.inputs import image_batches
from scarlet_tf.data.splits import Split

QUANTIZATIONS = ("none", "float16", "dynamic", "int8", "full_int8")
CALIBRATED = ("int8", "full_int8")
# In int8 this operation runs outside XNNPACK and cuts the graph into dozens of partitions, which costs more time than
# int8 saves; in float, between a DEQUANTIZE and a QUANTIZE, everything stays in one partition.
FLOAT_OPERATIONS = ("HARD_SWISH",)
CALIBRATION_IMAGES = 256


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
