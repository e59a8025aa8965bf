"""Metadata of an exported file: labels, preprocessing, architecture and the network's origin."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import pathlib
from collections.abc import Mapping, Sequence

import keras

from scarlet_tf.cost import count_spec
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.sources import check_class_names
from scarlet_tf.errors import InputError
from scarlet_tf.files import write_json, write_text
from scarlet_tf.models.network import Network

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
        "resize": "bilinear, antialiased",
        "normalization": preprocessing.normalization,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
    }
