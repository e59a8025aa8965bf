"""Metadata of an exported file: labels, preprocessing, architecture and the network's origin."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import flatbuffers
import keras
import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import write_json, write_text
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.sources import check_class_names
from scarlet_tf.models.network import Network
from scarlet_tf.space.cost import count_spec

METADATA_VERSION = 1
METADATA_NAME = "scarlet_tf"
LABELS_FILE = "labels.txt"
INPUT_NAME = "image"


def build_metadata(
    model: keras.Model,
    quantization: str = "none",
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    architecture=None,
    provenance: Mapping | None = None,
    batch_size: int | None = 1,
) -> dict:
    """Plain JSON types. `architecture` is an Architecture; `provenance` anything about the network's origin.

    `batch_size`: of the file's input; None where it takes any.

    InputError when labels or preprocessing do not fit the model.
    """
    height, width, channels = image_shape(model)
    num_outputs = int(model.output_shape[-1])
    if labels is not None and len(labels) != num_outputs:
        raise InputError(f"labels: expected {num_outputs}, one an output, got {len(labels)}")
    check_class_names(map(str, labels or ()), "labels")
    if preprocessing is not None and (height, width) != (preprocessing.image_size,) * 2:
        raise InputError(f"preprocessing.image_size: expected {height} as the model, got {preprocessing.image_size}")
    metadata = {
        "metadata_version": METADATA_VERSION,
        "package": f"scarlet_tf {importlib.metadata.version('scarlet_tf')}",
        "quantization": quantization,
        "input": {
            "name": INPUT_NAME,
            "layout": "NHWC",
            "colors": "RGB",
            "shape": [batch_size, height, width, channels],
        },
        "output": {"name": output_name(model), "shape": [batch_size, num_outputs]},
        "preprocessing": None if preprocessing is None else _describe(preprocessing),
        "labels": None if labels is None else [str(label) for label in labels],
        "architecture": None if architecture is None else architecture.to_dict(),
        **_costs(model),
        "provenance": dict(provenance or {}),
    }
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"provenance: expected plain, finite JSON types: {error}") from error
    return metadata


def image_shape(model: keras.Model) -> tuple[int, int, int]:
    """(height, width, channels) of the model's one input; InputError unless fixed, or where it is not float32."""
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise InputError(f"model: expected one input [B, H, W, C] of fixed size, got {shape}")
    if isinstance(model.output_shape, list) or len(model.output_shape) != 2:
        raise InputError(f"model: expected one output [B, classes], got {model.output_shape}")
    lower = sorted({layer.compute_dtype for layer in model.layers} - {"float32"})
    if lower:
        raise InputError(f"model: expected layers that compute in float32, got {lower}; rebuild it without the policy")
    return shape[1:]


def output_name(model: keras.Model) -> str:
    """ "probabilities" where the last layer ends in softmax, else "logits"."""
    activation = getattr(model.layers[-1], "activation", None)
    return "probabilities" if activation is keras.activations.softmax else "logits"


def write_sidecars(path: pathlib.Path, metadata: Mapping) -> None:
    """The metadata as JSON beside `path`, with its suffix exchanged, and its labels as labels.txt, one a line."""
    write_json(path.with_suffix(".json"), metadata)
    write_labels(path.parent, metadata)


def write_labels(folder: pathlib.Path, metadata: Mapping) -> None:
    """`folder`/labels.txt, where there are labels."""
    if metadata["labels"] is not None:
        write_text(folder / LABELS_FILE, labels_text(metadata["labels"]))


def labels_text(labels: Sequence[str]) -> str:
    """The content of labels.txt: one a line."""
    return "".join(f"{label}\n" for label in labels)


def _costs(model: keras.Model) -> dict[str, int | None]:
    """Costs of one image; None for models that are not a Network."""
    if not isinstance(model, Network):
        return {"multiply_adds": None, "params": None}
    return dataclasses.asdict(count_spec(model.spec))


def _describe(preprocessing: Preprocessing) -> dict:
    """Facts that another program needs to repeat the evaluation path: pixels in 0..255 become (pixel - mean) / std."""
    return {
        "image_size": preprocessing.image_size,
        "crop_fraction": preprocessing.crop_fraction,
        "crop": "central square whose side is crop_fraction of the shorter side",
        "resize": f"{preprocessing.resizing}, antialiased",
        "normalization": preprocessing.normalization if isinstance(preprocessing.normalization, str) else None,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
    }


# -- TFLite's own metadata, which MediaPipe, ML Kit and the TFLite Task Library read, and the archive of labels after them
#
# The fields and their numbers are those of TFLite's metadata_schema.fbs. The metadata are a flatbuffer in a buffer of the
# model's; the labels are a file in a ZIP archive that follows the model's flatbuffer.


TASK_METADATA_NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"  # of the schema: all fields below were in its first version
_RGB, _AXIS_LABELS = 1, 2
# Members of the schema's unions of contents and of process units.
_IMAGE, _NORMALIZATION, _THRESHOLD = 2, 1, 3
_LOWEST = float(np.finfo(np.float32).min)


def task_metadata(metadata: Mapping) -> bytes:
    """The flatbuffer of a file whose `build_metadata` is `metadata`."""
    builder = flatbuffers.Builder(1024)
    inputs, outputs = (_tables(builder, [tensor(builder, metadata)]) for tensor in (_input, _output))
    graphs = _tables(builder, [_table(builder, {2: inputs, 3: outputs})])
    about = f"Made by {metadata['package']}; the entry {METADATA_NAME} says more."
    texts = {0: "Image classifier", 1: about, 7: _PARSER_VERSION}
    model = _table(builder, {3: graphs} | {field: builder.CreateString(text) for field, text in texts.items()})
    builder.Finish(model, file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def with_labels(content: bytes, labels: Sequence[str] | None) -> bytes:
    """`content`, a model, followed by a ZIP archive of its labels, where it has any.

    They are stored, for readers map them into memory, and without a time, so that equal models are equal files.
    """
    if labels is None:
        return content
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), labels_text(labels))
    return file.getvalue()


def check_labels(content: bytes, labels: Sequence[str] | None) -> None:
    """InputError unless `content` ends as `with_labels` ends it."""
    if labels is None:
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = archive.read(LABELS_FILE).decode()
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"expected a ZIP archive with {LABELS_FILE} at the file's end: {error}") from error
    if found != labels_text(labels):
        raise InputError(f"{LABELS_FILE} in the ZIP archive at the file's end has other labels")


def _input(builder: flatbuffers.Builder, metadata: Mapping) -> int:
    """TensorMetadata of the image."""
    properties = _table(builder, {}, {0: _RGB})
    fields = {
        0: builder.CreateString(metadata["input"]["name"]),
        3: _table(builder, {1: properties}, {0: _IMAGE}),
    }
    how = metadata["preprocessing"]
    if how is not None:
        mean, std = np.array(how["mean"]), np.array(how["std"])
        fields[4] = _tables(
            builder, [_unit(builder, _NORMALIZATION, {0: _floats(builder, mean), 1: _floats(builder, std)})]
        )
        fields[5] = _table(builder, {0: _floats(builder, (255 - mean) / std), 1: _floats(builder, -mean / std)})
    return _table(builder, fields)


def _output(builder: flatbuffers.Builder, metadata: Mapping) -> int:
    """TensorMetadata of the scores."""
    fields = {0: builder.CreateString(metadata["output"]["name"])}
    if metadata["output"]["name"] == "logits":
        # Programs whose threshold is 0 where the metadata name none would drop negative logits.
        fields[4] = _tables(builder, [_unit(builder, _THRESHOLD, {}, {0: _LOWEST})])
    if metadata["labels"] is not None:
        name = builder.CreateString(LABELS_FILE)
        fields[6] = _tables(builder, [_table(builder, {0: name}, {2: _AXIS_LABELS})])
    return _table(builder, fields)


def _unit(builder: flatbuffers.Builder, kind: int, offsets: Mapping, floats: Mapping | None = None) -> int:
    """ProcessUnit: a union, of which `kind` says the member."""
    return _table(builder, {1: _table(builder, offsets, floats=floats)}, {0: kind})


def _table(
    builder: flatbuffers.Builder,
    offsets: Mapping[int, int],
    numbers: Mapping[int, int] | None = None,
    floats: Mapping[int, float] | None = None,
) -> int:
    """A table of fields by their numbers: what was written before, small numbers, and floats."""
    numbers, floats = numbers or {}, floats or {}
    builder.StartObject(1 + max([*offsets, *numbers, *floats]))
    for field, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, number in numbers.items():
        builder.PrependUint8Slot(field, number, 0)
    for field, value in floats.items():
        builder.PrependFloat32Slot(field, value, 0.0)
    return builder.EndObject()


def _tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder: flatbuffers.Builder, values: np.ndarray) -> int:
    return builder.CreateNumpyVector(values.astype(np.float32))
