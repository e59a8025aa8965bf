"""Files of Keras 2 (`.h5`): their models' descriptions, written again as Keras 3 reads them."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import h5py

_SUMS = {"__operators__.add": 1, "math.add": 1, "__operators__.sub": -1, "math.subtract": -1}
_PRODUCTS = {"__operators__.mul": 1, "math.multiply": 1, "__operators__.truediv": -1, "math.divide": -1}


@contextlib.contextmanager
def readable(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The file itself, or for as long as it is needed a copy whose description Keras 3 reads; the weights are the same.

    Keras 3 refuses slashes in the names of layers, an argument of depthwise convolutions that has no meaning, and the
    operators that Keras 2 recorded between layers (MobileNetV3's x + 3 and x / 6). Raises what HDF5 raises for other files.
    """
    with h5py.File(path) as file:
        written = file.attrs.get("model_config")
    if written is None:
        yield path
        return
    found = json.loads(written)
    described = json.dumps(_without_slashes(_modern(found), _slashed(found)))
    if json.loads(described) == json.loads(written):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / path.name
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = described
        yield copy


def _modern(layer: dict[str, Any]) -> dict[str, Any]:
    """The description of a layer, or of a model with its layers, with what Keras 3 has in place of what it refuses."""
    kind, config = layer.get("class_name"), layer.get("config")
    if not isinstance(config, dict):
        return layer
    if kind == "TFOpLambda":
        return _operator(layer)
    if kind == "DepthwiseConv2D":
        return {**layer, "config": {key: config[key] for key in config if key != "groups"}}
    if isinstance(config.get("layers"), list):
        return {**layer, "config": {**config, "layers": [_modern(one) for one in config["layers"]]}}
    return layer


def _operator(layer: dict[str, Any]) -> dict[str, Any]:
    """A recorded operator of a tensor and a number as the scaling that it is; any other as it was."""
    function, calls = layer["config"].get("function"), layer.get("inbound_nodes") or []
    if len(calls) != 1 or not isinstance(calls[0][-1], dict):
        return layer
    name, node, index, options = calls[0]
    number = options.get("y")
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return layer
    if function in _SUMS:
        scaling = {"scale": 1.0, "offset": _SUMS[function] * number}
    elif function in _PRODUCTS and number:
        scaling = {"scale": number ** _PRODUCTS[function], "offset": 0.0}
    else:
        return layer
    config = {"name": layer["config"]["name"], "dtype": "float32", **scaling}
    return {**layer, "class_name": "Rescaling", "config": config, "inbound_nodes": [[[name, node, index, {}]]]}


def _slashed(model: dict[str, Any]) -> set[str]:
    """The names of the model's layers, and of those of models inside it, that have slashes."""
    layers = model.get("config", {}).get("layers", []) if isinstance(model.get("config"), dict) else []
    inside = set().union(*(_slashed(layer) for layer in layers))
    return inside | {name for layer in layers if "/" in (name := layer["config"].get("name", ""))}


def _without_slashes(value: Any, names: set[str]) -> Any:
    """The value, in JSON's types, with these names without slashes wherever they stand."""
    if isinstance(value, dict):
        return {key: _without_slashes(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_slashes(one, names) for one in value]
    return value.replace("/", "_") if isinstance(value, str) and value in names else value
