"""keras.applications' companions of its networks: from pixels to a network's input, from its outputs to labels."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from scarlet_tf.data.data_config import STATISTICS
from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json

_MODES = {"tf": STATISTICS["inception"], "torch": STATISTICS["imagenet"]}


def preprocess_input(x, data_format: str | None = None, mode: str = "tf"):
    """Scale RGB images [..., H, W, 3] with values in 0..255 for a network of the zoo; the result is a new array.

    mode: "tf" to -1..1, as the paper's training ("inception" in a configuration; the default there, too); "torch" by
    ImageNet's mean and deviation, as the authors' PyTorch checkpoints expect ("imagenet"). A NumPy array stays one: floats
    keep their type, others become float32. Tensors, symbolic ones too, stay on Keras' backend. data_format: None or
    "channels_last". Raises InputError for other values and shapes.

    A run's own network has its preprocessing in its exported files' metadata, and `scarlet zoo NAME` states it.
    """
    if data_format not in (None, "channels_last"):
        raise InputError(f"data_format: expected 'channels_last', got {data_format!r}")
    if mode not in _MODES:
        raise InputError(f"mode: expected one of {list(_MODES)}, got {mode!r}")
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) < 3 or shape[-1] != 3:
        raise InputError(f"x: expected images [..., H, W, 3], got {type(x).__name__} of shape {list(shape)}")
    if isinstance(x, np.ndarray):
        dtype = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype("float32")
        mean, deviation = (np.asarray(values, dtype) for values in _MODES[mode])
        return (x.astype(dtype) - mean) / deviation
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        x = keras.ops.cast(x, "float32")
    mean, deviation = (keras.ops.convert_to_tensor(values, dtype=x.dtype) for values in _MODES[mode])
    return (x - mean) / deviation


def decode_predictions(preds, top: int = 5, *, labels) -> list[list[tuple[str, str, float]]]:
    """The `top` most probable classes of each image, best first: (class id, label, score).

    preds: [B, classes], probabilities or logits. labels: one a class: a sequence, a text file with one a line (labels.txt
    of an export folder), or a JSON file with a list or with keras.applications' index {"0": ["n01440764", "tench"], ...}.
    The class id is that index's, else the class' number as text. Equal scores keep the order of the classes. Raises
    InputError if predictions or labels have another form, or do not fit each other.
    """
    scores = np.asarray(keras.ops.convert_to_numpy(preds))
    if scores.ndim != 2:
        raise InputError(f"preds: expected shape [B, classes], got {list(scores.shape)}")
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or top < 1:
        raise InputError(f"top: expected an integer >= 1, got {top!r}")
    names = _labels(labels)
    if len(names) != scores.shape[1]:
        raise InputError(f"labels: expected {scores.shape[1]}, one a class of preds, got {len(names)}")
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [[(*names[i], float(row[i])) for i in best] for row, best in zip(scores, order, strict=True)]


def _labels(labels) -> list[tuple[str, str]]:
    """(class id, label) a class."""
    if isinstance(labels, (str, pathlib.Path)):
        path = pathlib.Path(labels)
        labels = read_json(path) if path.suffix == ".json" else _lines(path)
        if isinstance(labels, Mapping):
            return _class_index(labels, path)
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        raise InputError(f"labels: expected a sequence or the path of a file, got {type(labels).__name__}")
    return [(str(index), str(label)) for index, label in enumerate(labels)]


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a text file with one label a line: {error}") from error


def _class_index(index: Mapping, path: pathlib.Path) -> list[tuple[str, str]]:
    try:
        pairs = [index[str(number)] for number in range(len(index))]
    except KeyError as error:
        raise InputError(f"{path}: expected the keys 0 to {len(index) - 1}, got none of {error}") from error
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(f"{path}: {number}: expected [class id, label], got {pair!r}")
    return [(str(class_id), str(label)) for class_id, label in pairs]
