"""A Keras model as a SavedModel for servers, which runs where neither Keras nor this package is installed."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from scarlet_tf import host
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.errors import InputError
from scarlet_tf.export.metadata import INPUT_NAME, build_metadata, image_shape, output_name, write_labels
from scarlet_tf.export.stable_graph import stabilize
from scarlet_tf.export.warm_up import FILE_NAME, check_warm_up, encoded_requests, image_requests, write_warm_up
from scarlet_tf.files import TEMPORARY, write_json
from scarlet_tf.layers.core import without_kernels
from scarlet_tf.streams import quiet

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
