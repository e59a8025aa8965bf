"""network_from_file: a network from a YAML or JSON file in any of the forms of docs/foreign.md."""

from __future__ import annotations

import inspect
import pathlib
from collections.abc import Mapping

from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json
from scarlet_tf.foreign.from_blocks import network_from_blocks
from scarlet_tf.foreign.from_ofa import network_from_ofa
from scarlet_tf.spec import NetworkSpec
from scarlet_tf.yaml_files import read_yaml

_YAML, _JSON = (".yaml", ".yml"), (".json", ".config")
_OPTIONS = set(inspect.signature(network_from_blocks).parameters) - {"input_shape"}


def is_network_file(text: str) -> bool:
    """True if `text` names a file of such a form, by its ending."""
    return pathlib.Path(text).suffix in _YAML + _JSON


def network_from_file(path, input_size: int | None = None, num_classes: int | None = None) -> NetworkSpec:
    """The network that the file describes: block strings, a `net.config`, or a path through an OFA supernet.

    input_size: side of a square image in pixels; both take precedence over the file's values. InputError names the file.
    """
    data = _read(path)
    try:
        if "first_conv" in data or "ks" in data:
            shape = None if input_size is None else (input_size, input_size, 3)
            return network_from_ofa(data, input_shape=shape, num_classes=num_classes)
        return _from_blocks(dict(data), input_size, num_classes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _from_blocks(data: dict, input_size: int | None, num_classes: int | None) -> NetworkSpec:
    data.pop("name", None)
    size = data.pop("input_size", 224)
    unknown = sorted(data.keys() - _OPTIONS)
    if unknown:
        expected = ", ".join(["name", "input_size", *sorted(_OPTIONS)])
        raise InputError(f"{unknown[0]}: unknown key; expected {expected}, or the keys of a net.config or of a path")
    if "blocks" not in data:
        raise InputError("blocks: missing; expected a list of block strings")
    if num_classes is not None:
        data["num_classes"] = num_classes
    size = size if input_size is None else input_size
    return network_from_blocks(**data, input_shape=(size, size, 3))


def _read(path) -> Mapping:
    data = read_json(path) if pathlib.Path(path).suffix in _JSON else read_yaml(path)
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: expected a mapping, got {'nothing' if data is None else type(data).__name__}")
    return data
