"""A Keras model as a SavedModel for servers, which runs where neither Keras nor this package is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import TEMPORARY, write_json
from scarlet_tf.base.streams import quiet
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.metadata import INPUT_NAME, build_metadata, image_shape, output_name, write_labels
from scarlet_tf.layers.core import without_kernels

# Servers leave this folder of a SavedModel alone.
EXTRA_FOLDER = "assets.extra"
METADATA_FILE = "metadata.json"
ENCODED_NAME = "encoded"
# How files begin. Training takes further formats; a server's doors are narrower.
_FORMATS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}


def export_saved_model(
    model: keras.Model,
    path,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    *,
    architecture=None,
    provenance: Mapping | None = None,
    warm_up: bool = False,
) -> pathlib.Path:
    """Writes a SavedModel folder, such as export/saved_model/1, whole or not at all; returns its path.

    Signatures: "serving_default" from normalised float32 "image" [B, S, S, C]; with `preprocessing` also
    "serving_bytes" from "encoded" [B], strings of JPEG or PNG files of any size. Both give "logits" [B, classes]. A
    file that cannot be decoded, or of another format, fails its whole batch with INVALID_ARGUMENT.

    Metadata and labels lie in assets.extra/. `warm_up` puts requests there that TensorFlow Serving runs when it loads
    the model; InputError without the extra [serving]. An older SavedModel at `path` is replaced.
    """
    host.check()
    path = pathlib.Path(path)
    if warm_up:
        check_warm_up("warm_up")
    metadata = build_metadata(model, "none", labels, preprocessing, architecture, provenance, batch_size=None)
    with _replacing(path) as folder:
        with quiet(), without_kernels():
            _write(model, preprocessing, folder)
        stabilize(folder)
        write_json(folder / EXTRA_FOLDER / METADATA_FILE, metadata)
        write_labels(folder / EXTRA_FOLDER, metadata)
        if warm_up:
            requests = {"serving_default": (INPUT_NAME, image_requests(image_shape(model)))}
            if preprocessing is not None:
                requests["serving_bytes"] = (ENCODED_NAME, encoded_requests())
            write_warm_up(folder / EXTRA_FOLDER / FILE_NAME, requests)
    return path


def load_saved_model(path):
    """The loaded SavedModel; InputError when it is missing, torn or without "serving_default"."""
    path = pathlib.Path(path)
    if not (path / "saved_model.pb").is_file():
        raise InputError(f"{path}: expected a SavedModel folder with saved_model.pb")
    try:
        with quiet():
            loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: the SavedModel is torn: {reason[0]}") from error
    if "serving_default" not in loaded.signatures:
        raise InputError(f"{path}: expected a signature serving_default, got {sorted(loaded.signatures)}")
    return loaded


def _write(model: keras.Model, preprocessing: Preprocessing | None, folder: pathlib.Path) -> None:
    """A SavedModel of the signatures alone: Keras' own export stores variables in another order in each process."""
    name = output_name(model)
    image = tf.TensorSpec([None, *image_shape(model)], tf.float32, INPUT_NAME)
    bare = tf.Module()
    bare.weights = [weight.value for weight in model.weights]
    signatures = {
        "serving_default": tf.function(lambda image: {name: model.call(image, training=False)}, input_signature=[image])
    }
    if preprocessing is not None:
        size = preprocessing.image_size

        def serve_bytes(encoded):
            images = tf.map_fn(
                preprocessing.decode_and_prepare,
                _checked(encoded),
                fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
            )
            return {name: model.call(images, training=False)}

        encoded = tf.TensorSpec([None], tf.string, ENCODED_NAME)
        signatures["serving_bytes"] = tf.function(serve_bytes, input_signature=[encoded])
    tf.saved_model.save(bare, str(folder), signatures)


def _checked(encoded: tf.Tensor) -> tf.Tensor:
    """The strings [B]; at run time InvalidArgumentError says which of them are neither JPEG nor PNG files."""
    begins = [tf.strings.substr(encoded, 0, len(mark)) == mark for mark in _FORMATS.values()]
    wrong = tf.where(~tf.reduce_any(begins, axis=0))[:, 0]
    expected = f"{ENCODED_NAME}: expected {' or '.join(_FORMATS)} files, got something else at the positions"
    checks = [
        tf.debugging.assert_positive(tf.size(encoded), f"{ENCODED_NAME}: expected at least one file, got none"),
        tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [expected, wrong], summarize=8),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(encoded)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]


@contextlib.contextmanager
def _replacing(path: pathlib.Path):
    """A temporary folder beside `path` that takes its place when the block ends without an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: could not be written: {error.strerror or error}") from error
    try:
        yield holder / "new"
        if path.exists():
            os.replace(path, holder / "old")
        os.replace(holder / "new", path)
    except (OSError, tf.errors.OpError) as error:
        raise InputError(f"{path}: could not be written: {_reason(error)}") from error
    finally:
        # A failure between the two renames leaves the old model to be put back.
        if (holder / "old").exists() and not path.exists():
            os.replace(holder / "old", path)
        shutil.rmtree(holder, ignore_errors=True)


# -- Makes the SavedModels of one network equal byte by byte, whatever the process did before it wrote them --------


_COUNTED = re.compile(r"(.*)_(\d+)", re.DOTALL)
_ARGUMENT, _CONFIGURATION = "_user_specified_name", "config_proto"
_UNUSED = re.compile(r"_\d+(?=___redundant_placeholder\d+$)")  # in the names of arguments that a loop does not read


def stabilize(folder: pathlib.Path) -> None:
    """Rewrites saved_model.pb in `folder` and removes fingerprint.pb.

    TensorFlow ends the names of functions with a number that counts what its process has made so far, also names the
    variables that they capture by such numbers, and stores functions and maps in an order that depends on them. It notes
    with every call how many devices there are and which graph optimisations were ever switched. Its fingerprint has a
    random part and would be that of the other bytes; it is optional, and loaders do without it.
    """
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        functions = graph.graph_def.library.function
        _rename(graph, _stable_names(function.signature.name for function in functions))
        functions.sort(key=lambda function: function.signature.name)
        for function in functions:
            _forget_numbers(function)
        for node in itertools.chain(graph.graph_def.node, *(function.node_def for function in functions)):
            _forget_process(node)
    file.write_bytes(model.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def _stable_names(names: Iterable[str]) -> dict[str, str]:
    """{name: the same with another number}: those that differ in it alone are counted from 0, in their order."""
    counted = [match for match in map(_COUNTED.fullmatch, names) if match]
    numbers: dict[str, int] = {}
    stable = {}
    for match in sorted(counted, key=lambda match: int(match[2])):
        number = numbers[match[1]] = numbers.get(match[1], -1) + 1
        stable[match[0]] = f"{match[1]}_{number}"
    return stable


def _forget_numbers(function) -> None:
    """Removes the numbers in what a function calls its arguments; those that callers give have names."""
    for argument in function.signature.input_arg:
        argument.name = _UNUSED.sub("", argument.name)
    for about in function.arg_attr.values():
        if _ARGUMENT in about.attr and about.attr[_ARGUMENT].s.isdigit():
            del about.attr[_ARGUMENT]


def _forget_process(node) -> None:
    """Empties the configuration of a call: this host's devices, and what the process had set of graph optimisation."""
    if _CONFIGURATION in node.attr:
        node.attr[_CONFIGURATION].s = b""


def _rename(message, names: Mapping[str, str]) -> None:
    """Exchanges every text in a protobuf `message` that is one of `names`, keys of maps included."""
    for field, value in message.ListFields():
        if isinstance(value, str):
            setattr(message, field.name, names.get(value, value))
        elif hasattr(value, "ListFields"):
            _rename(value, names)
        elif hasattr(value, "items"):
            _rename_map(value, names)
        elif field.message_type is not None:
            for element in value:
                _rename(element, names)
        elif field.type == field.TYPE_STRING:
            value[:] = [names.get(text, text) for text in value]


def _rename_map(values, names: Mapping[str, str]) -> None:
    """The same for a map; those by names of functions have messages as their values."""
    for value in values.values():
        if hasattr(value, "ListFields"):
            _rename(value, names)
    copies = {
        names[key]: type(values[key]).FromString(values[key].SerializeToString()) for key in values if key in names
    }
    for key in names.keys() & set(values):
        del values[key]
    for key, value in copies.items():
        values[key].CopyFrom(value)


# -- Requests that a model server runs when it loads a SavedModel, so that the first user does not wait for tracing
#
# TensorFlow Serving reads them from assets.extra/tf_serving_warmup_requests. Their format comes with the package
# tensorflow-serving-api, the extra [serving]; it is imported when records are written.


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
