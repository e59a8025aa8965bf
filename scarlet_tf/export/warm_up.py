"""Requests that a model server runs when it loads a SavedModel, so that the first user does not wait for tracing.

TensorFlow Serving reads them from assets.extra/tf_serving_warmup_requests. Their format comes with the package
tensorflow-serving-api, the extra [serving]; it is imported when records are written.
"""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from scarlet_tf.errors import InputError

FILE_NAME = "tf_serving_warmup_requests"
BATCH_SIZES = (1, 8)
# The height and width of the encoded images; any would do, since the signature takes all sizes.
_ENCODED_SIZE = (64, 80)


def check_warm_up(key: str) -> None:
    """InputError, beginning with `key`, where the extra [serving] is not installed."""
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise InputError(f"{key}: needs the package tensorflow-serving-api; pip install 'scarlet_tf[serving]'")


def image_requests(shape: tuple[int, ...]) -> Iterable[np.ndarray]:
    """Batches float32 [B, *shape] of noise."""
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, (size, *shape)).astype(np.float32) for size in BATCH_SIZES]


def encoded_requests() -> Iterable[np.ndarray]:
    """Batches [B] of JPEG and PNG files in turn, the first of them JPEG."""
    pixels = np.random.default_rng(0).integers(0, 256, (*_ENCODED_SIZE, 3), np.uint8)
    files = [tf.io.encode_jpeg(pixels).numpy(), tf.io.encode_png(pixels).numpy()]
    return [np.array([files[i % 2] for i in range(size)], object) for size in BATCH_SIZES]


def write_warm_up(path: pathlib.Path, requests: Mapping[str, tuple[str, Iterable[np.ndarray]]]) -> None:
    """Writes a TFRecord file of PredictionLogs from {signature: (name of its input, batches)}."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, (name, batches) in requests.items():
            for batch in batches:
                request = predict_pb2.PredictRequest()
                request.model_spec.name, request.model_spec.signature_name = "warm_up", signature
                request.inputs[name].CopyFrom(tf.make_tensor_proto(batch))
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
