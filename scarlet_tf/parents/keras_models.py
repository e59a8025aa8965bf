"""Parents out of Keras models: MobileNetV2, MobileNetV3, EfficientNet and other chains of inverted residual blocks.

Files of Keras 2 (`.h5`) are read, too: their models' descriptions are written again as Keras 3 reads them.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.data_config import STATISTICS, Colours, Normalization, Statistics
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.parents.keras_graph import Graph
from scarlet_tf.parents.keras_layers import Scaling
from scarlet_tf.parents.keras_parsing import NetworkReader
from scarlet_tf.parents.parent import Parent

CHANNEL_ORDERS = ("rgb", "bgr")
_SUMS = {"__operators__.add": 1, "math.add": 1, "__operators__.sub": -1, "math.subtract": -1}
_PRODUCTS = {"__operators__.mul": 1, "math.multiply": 1, "__operators__.truediv": -1, "math.divide": -1}


def from_keras(
    model: keras.Model,
    preprocessing: Preprocessing | None = None,
    name: str | None = None,
    channel_order: str = "rgb",
    source: str = "",
) -> Parent:
    """The parent with structure and weights of a Keras model; see `Parent.from_keras`."""
    if not isinstance(model, keras.Model):
        raise InputError(f"model: expected a Keras model, got a {type(model).__name__}")
    name = name or model.name
    if channel_order not in CHANNEL_ORDERS:
        raise InputError(f"channel_order: expected one of {CHANNEL_ORDERS}, got {channel_order!r}")
    graph = Graph(model, name)
    size = graph.input.shape[1:3]
    if None in size:
        if preprocessing is None:
            raise InputError(
                f"{name}: expected preprocessing with an image_size, as the model takes images of any size"
            )
        size = (preprocessing.image_size,) * 2
    reader = NetworkReader(graph, size)
    scaling, arrays, reversed_images = reader.scaling, reader.arrays, channel_order == "bgr"
    if reversed_images != scaling.reverses:
        arrays["stem_conv/kernel"] = arrays["stem_conv/kernel"][:, :, ::-1].copy()
    statistics = _statistics(scaling, reversed_images) if scaling.changes else None
    return Parent(name, reader.spec, arrays, _preprocessing(name, size, statistics, preprocessing), source)


def from_keras_file(
    path: str | os.PathLike,
    preprocessing: Preprocessing | None = None,
    name: str | None = None,
    channel_order: str = "rgb",
) -> Parent:
    """The parent out of a whole Keras model's `.keras` or `.h5` file; see `Parent.from_keras`.

    InputError for a file that is missing, damaged, holds weights alone or asks for classes that Keras does not know.
    """
    path = Path(path)
    is_hdf5 = path.suffix in (".h5", ".hdf5")
    try:
        with readable(path) if is_hdf5 else contextlib.nullcontext(path) as file:
            model = keras.saving.load_model(file, compile=False)
    except Exception as error:  # whatever Keras, ZIP and HDF5 raise for a missing, damaged or foreign file
        reason = textwrap.shorten((str(error).splitlines() or [type(error).__name__])[-1], 300, placeholder=" ...")
        raise InputError(f"{path}: expected a whole Keras model, as model.save writes it: {reason}") from error
    return from_keras(model, preprocessing, name or path.stem, channel_order, source=path.name)


def _statistics(scaling: Scaling, reversed_images: bool) -> tuple[np.ndarray, np.ndarray]:
    """(Mean, deviation) of red, green and blue in units of 0..255 for which (x - mean) / deviation is what `scaling` does."""
    scale, offset = np.array(scaling.scale), np.array(scaling.offset)
    order = slice(None, None, -1) if reversed_images else slice(None)
    return (-offset / scale)[order], (1 / scale)[order]


def _preprocessing(name: str, size, statistics, given: Preprocessing | None) -> Preprocessing:
    """The preprocessing for the network, whose model scales images itself by `statistics` unless these are None."""
    if given is not None and size != (given.image_size,) * 2:
        raise InputError(f"preprocessing.image_size: expected the size of {name}, {size}, got {given.image_size}")
    if statistics is None:
        if given is None:
            raise InputError(f"{name}: expected preprocessing, as the model does not scale its images itself")
        return given
    if size[0] != size[1]:
        raise InputError(f"{name}: expected square images, got {size}")
    normalization = _normalization(*statistics)
    if given is not None and not _close((given.mean, given.std), statistics):
        raise InputError(
            f"preprocessing.normalization: expected {normalization!r}, which {name} does itself, got {given.normalization!r}"
        )
    return given or Preprocessing(size[0], normalization=normalization)


def _normalization(mean: np.ndarray, std: np.ndarray) -> Normalization:
    """The name of a normalisation by these, if it has one."""
    for normalization, known in STATISTICS.items():
        if _close((mean, std), known):
            return normalization
    return Statistics(_rounded(np.where(np.abs(mean) < 1e-6 * std, 0, mean)), _rounded(std))


def _rounded(values: np.ndarray) -> Colours:
    """Three numbers to six digits; the model's float32 hold no more."""
    red, green, blue = (float(f"{value:.6g}") for value in values)
    return red, green, blue


def _close(one, other) -> bool:
    """True if two pairs of mean and deviation normalise to the same within 1e-4 of a deviation."""
    (mean, std), (other_mean, other_std) = np.array(one), np.array(other)
    return bool((np.abs(mean - other_mean) < 1e-4 * std).all() and np.allclose(std, other_std, rtol=1e-4, atol=0))


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
