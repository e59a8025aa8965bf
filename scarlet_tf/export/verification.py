"""Runs an exported file on held-out images and states how far it is from the Keras model."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.data.inputs import image_batches
from scarlet_tf.export.metadata import INPUT_NAME
from scarlet_tf.export.saved_model import load_saved_model
from scarlet_tf.export.tflite import ONE_PARTITION, describe_tflite, load_tflite

# -- Requirements of an exported file; each check states the expectation and the finding ---------------------------


@dataclasses.dataclass(frozen=True)
class Limits:
    """Allowed differences between a file and its network.

    `max_logit_difference`: for files in float32, relative to the network's greatest logit, or absolute below 1; BN that
    was folded into convolutions and bases that were changed round differently. `max_top1_drop`: for all files, on the
    same images [reading: what users take for the same network].
    """

    max_logit_difference: float = 1e-3
    max_top1_drop: float = 0.02

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise InputError(f"{field.name}: expected a number >= 0, got {value!r}")


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    expected: str
    found: str
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check_file(result: Mapping[str, Any], quantization: str | None, limits: Limits) -> list[Check]:
    """The checks of what `verify` found about one file; `quantization` is that of its metadata, None without."""
    checks = [_names("input", result["inputs"], (INPUT_NAME,))]
    checks.append(_names("output", result["outputs"], ("logits", "probabilities")))
    if result["builtins_only"] is not None:
        foreign = [name for name in result["operations"] if name.startswith("CUSTOM")]
        checks.append(Check("operations", "builtin ones only", ", ".join(foreign) or "builtin ones only", not foreign))
    if result["partitions"] is not None and quantization in ONE_PARTITION:
        partitions = result["partitions"]
        checks.append(Check("delegate partitions", "1", str(partitions), partitions == 1))
    if quantization == "none" and result["max_logit_difference"] is not None:
        checks.append(_parity(result, limits.max_logit_difference))
    if result["top1_delta"] is not None:
        drop = -result["top1_delta"]
        found = f"{100 * drop:.2f} points of {result['num_images']} images"
        expected = f"a drop of at most {100 * limits.max_top1_drop:g} points"
        checks.append(Check("top-1", expected, found, drop <= limits.max_top1_drop))
    return checks


def _names(what: str, tensors, allowed: tuple[str, ...]) -> Check:
    found = [tensor["name"] for tensor in tensors]
    passed = len(found) == 1 and found[0] in allowed
    return Check(f"{what} name", " or ".join(allowed), ", ".join(found), passed)


def _parity(result: Mapping[str, Any], limit: float) -> Check:
    allowed = limit * max(1.0, result["max_model_logit"])
    difference = result["max_logit_difference"]
    return Check("logits", f"a difference of at most {allowed:.2g}", f"{difference:.2g}", difference <= allowed)


DEFAULT_LIMITS = Limits()

Predict = Callable[[np.ndarray], np.ndarray]


def verify(artifact, model: keras.Model | None, data, limits: Limits = DEFAULT_LIMITS) -> dict:
    """Compares a .tflite file or SavedModel folder with the model it was made from.

    `data`: normalised images as a Split, a tuple (images, labels) of arrays or batches of such; without labels the
    accuracies are None, and without a `model` everything that compares is. Keys of the result, in plain JSON types:

    artifact, format, quantization, bytes, num_images; max_logit_difference and mean_logit_difference (absolute),
    max_model_logit; top1 of the file, model_top1, top1_delta (file minus model), agreement (share of images with the
    same first class); inputs, outputs, operations, builtins_only, partitions (None for a SavedModel); checks, a list of
    {name, expected, found, passed}, and passed, whether all are. A check that fails raises nothing.
    """
    host.check()
    path = pathlib.Path(artifact)
    predict, description = _open_saved_model(path) if path.is_dir() else open_tflite(path)
    shape = tuple(description["inputs"][0]["shape"][1:])
    if model is not None and tuple(model.input_shape[1:]) != shape:
        raise InputError(f"{path}: expected the model's input {list(model.input_shape[1:])}, got {list(shape)}")
    statistics = _Statistics()
    for images, labels in image_batches(data, shape, f"data for {path}"):
        logits = predict(images)
        if not np.isfinite(logits).all():
            raise InputError(f"{path}: gives NaN or infinite logits")
        reference = None if model is None else keras.ops.convert_to_numpy(model(images, training=False))
        statistics.add(logits, reference, labels)
    if not statistics.num_images:
        raise InputError(f"data for {path}: expected at least one image, got none")
    result = {"artifact": str(path), **description, **statistics.result()}
    checks = check_file(result, result["quantization"], limits)
    return {**result, "checks": [check.to_dict() for check in checks], "passed": all(check.passed for check in checks)}


class _Statistics:
    """Sums over batches; every figure is an exact mean over all images."""

    def __init__(self):
        self.num_images = self.num_labels = self.num_compared = 0
        self.correct = self.model_correct = self.agreeing = 0
        self.greatest = self.total = self.greatest_logit = 0.0
        self.num_logits = 0

    def add(self, logits: np.ndarray, reference: np.ndarray | None, labels: np.ndarray | None) -> None:
        self.num_images += len(logits)
        if labels is not None:
            self.num_labels += len(labels)
            self.correct += int((logits.argmax(-1) == labels).sum())
        if reference is None:
            return
        if reference.shape != logits.shape:
            raise InputError(f"the file gives logits {list(logits.shape)}, the model {list(reference.shape)}")
        difference = np.abs(logits.astype(np.float64) - reference)
        self.greatest = max(self.greatest, float(difference.max()))
        self.greatest_logit = max(self.greatest_logit, float(np.abs(reference).max()))
        self.total += float(difference.sum())
        self.num_logits += difference.size
        self.num_compared += len(logits)
        self.agreeing += int((logits.argmax(-1) == reference.argmax(-1)).sum())
        if labels is not None:
            self.model_correct += int((reference.argmax(-1) == labels).sum())

    def result(self) -> dict:
        labelled, compared = self.num_labels == self.num_images, self.num_compared > 0
        both = labelled and compared
        return {
            "num_images": self.num_images,
            "max_logit_difference": self.greatest if compared else None,
            "mean_logit_difference": self.total / self.num_logits if compared else None,
            "max_model_logit": self.greatest_logit if compared else None,
            "top1": self.correct / self.num_labels if labelled else None,
            "model_top1": self.model_correct / self.num_labels if both else None,
            "top1_delta": (self.correct - self.model_correct) / self.num_labels if both else None,
            "agreement": self.agreeing / self.num_compared if compared else None,
        }


def open_tflite(path: pathlib.Path) -> tuple[Predict, dict]:
    """(function from images [N, H, W, C] to logits [N, classes] by LiteRT, one image at a time; description) of a file."""
    interpreter, _ = load_tflite(path)
    description = describe_tflite(path)
    metadata = description.pop("metadata") or {}
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if len(source["shape"]) != 4:
        raise InputError(f"{path}: expected an input [1, H, W, C], got {source['shape'].tolist()}")

    def predict(images: np.ndarray) -> np.ndarray:
        logits = []
        for image in images:
            interpreter.set_tensor(source["index"], _quantize(image[np.newaxis], source))
            interpreter.invoke()
            logits.append(_dequantize(interpreter.get_tensor(target["index"])[0], target))
        return np.stack(logits)

    return predict, {"format": "tflite", "quantization": metadata.get("quantization"), **description}


def _open_saved_model(path: pathlib.Path) -> tuple[Predict, dict]:
    loaded = load_saved_model(path)
    signature = loaded.signatures["serving_default"]
    [(name, spec)] = signature.structured_input_signature[1].items()
    [(output, output_spec)] = signature.structured_outputs.items()

    def predict(images: np.ndarray) -> np.ndarray:
        # `loaded` is named so that it outlives this call: its signatures do not keep the variables alive.
        return loaded.signatures["serving_default"](**{name: tf.constant(images)})[output].numpy()

    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    description = {
        "format": "saved_model",
        "quantization": "none",
        "bytes": size,
        "operations": None,
        "builtins_only": None,
        "partitions": None,
        "inputs": [_tensor(name, spec)],
        "outputs": [_tensor(output, output_spec)],
    }
    return predict, description


def _tensor(name: str, spec) -> dict:
    return {"name": name, "shape": spec.shape.as_list(), "dtype": spec.dtype.name}


def _quantize(values: np.ndarray, detail) -> np.ndarray:
    if detail["dtype"] is np.float32:
        return values
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(values / scale + zero_point), limits.min, limits.max).astype(detail["dtype"])


def _dequantize(values: np.ndarray, detail) -> np.ndarray:
    if detail["dtype"] is np.float32:
        return values
    scale, zero_point = detail["quantization"]
    return (values.astype(np.float32) - zero_point) * scale
