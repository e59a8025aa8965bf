"""Registered networks, beside the published ones: a folder with a JSON file for each network, and its weights.

The folder is the one that the environment variable SCARLET_ZOO_DIR names, else ~/.scarlet/zoo. A network is a copy: it
stays when the run that it came from is deleted. Nothing here imports Keras.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from scarlet_tf.errors import InputError
from scarlet_tf.files import atomic_writer, file_name, read_json, write_json
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.spec import NetworkSpec

FOLDER_VARIABLE = "SCARLET_ZOO_DIR"
ENTRY_VERSION = 1
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclasses.dataclass(frozen=True)
class OwnEntry:
    """One registered network: its structure, its weights if it has any, and its origin.

    `origin` has plain JSON types: {"run", "space", "architecture", "init", "scaling", "dataset", "test_examples", "top1",
    "one_shot_accuracy", "preprocessing", "labels"}; accuracies in percent, None where unknown. Fine-tuning reads `source`:
    {"space": its fields, "data": the preparation of its images, "result": of its training}; None without weights.
    """

    name: str
    spec: NetworkSpec
    has_weights: bool
    origin: Mapping[str, Any]
    source: Mapping[str, Any] | None = None

    @property
    def weights_file(self) -> pathlib.Path:
        """Path of its weights, a `.keras` file, if it has any."""
        return _path(self.name, ".keras")

    def at(self, input_size: int | None = None, num_classes: int | None = None) -> NetworkSpec:
        """The network for square images of another size and for other classes; None keeps what it has."""
        shape = self.spec.input_shape
        return self.spec.replace(
            input_shape=shape if input_size is None else (input_size, input_size, shape[2]),
            num_classes=self.spec.num_classes if num_classes is None else num_classes,
        )


def zoo_folder() -> pathlib.Path:
    """The folder of registered networks, which need not exist."""
    return pathlib.Path(os.environ.get(FOLDER_VARIABLE) or pathlib.Path.home() / ".scarlet" / "zoo")


def zoo_names() -> list[str]:
    """The names of the published networks, then of the registered ones."""
    return [*ZOO, *own_names()]


def own_names() -> list[str]:
    """The names of the registered networks, in alphabetical order."""
    return sorted(path.stem for path in zoo_folder().glob("*.json") if _NAME.fullmatch(path.stem))


def find_own(name: str) -> OwnEntry | None:
    """The registered network of that name; InputError if its file is damaged or of another version."""
    if not _NAME.fullmatch(name) or not _path(name, ".json").exists():
        return None
    path = _path(name, ".json")
    found = read_json(path)
    version = found.get("version") if isinstance(found, Mapping) else None
    if version != ENTRY_VERSION:
        raise InputError(f"{path}: version: expected {ENTRY_VERSION}, got {version!r}")
    try:
        spec = NetworkSpec.from_dict(found["spec"])
        return OwnEntry(name, spec, bool(found["has_weights"]), found["origin"], found.get("source"))
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: expected a network's entry: {type(error).__name__}: {error}") from error


def add_own(
    name: str,
    spec: NetworkSpec,
    origin: Mapping[str, Any],
    weights: pathlib.Path | None = None,
    source: Mapping[str, Any] | None = None,
) -> OwnEntry:
    """Write a network into the folder, with a copy of `weights` (a `.keras` file); InputError if the name is taken or bad."""
    check_new_name(name)
    if weights is not None:
        with atomic_writer(_path(name, ".keras")) as file:
            file.write(weights.read_bytes())
    entry = OwnEntry(name, spec, weights is not None, origin, source)
    content = {
        "version": ENTRY_VERSION,
        "spec": spec.to_dict(),
        "has_weights": entry.has_weights,
        "origin": dict(origin),
        "source": source,
    }
    write_json(_path(name, ".json"), content)  # last: this file makes the network exist
    return entry


def check_new_name(name: str) -> None:
    """Raise InputError unless `name` can be that of a further network."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"name: expected small letters, digits, _ and - after a letter, got {name!r}")
    if file_name(name) != name:
        raise InputError(f"name: {name} is no name of a file on Windows; expected another one")
    if name in ZOO:
        raise InputError(f"name: {name} is a published network; expected another one")
    if _path(name, ".json").exists():
        raise InputError(f"name: {name} is in {zoo_folder()} already; remove it first: scarlet zoo {name} --remove")


def remove_own(name: str) -> None:
    """Delete a registered network, even if its file is damaged; InputError if there is none of that name."""
    if name not in own_names():
        raise InputError(f"{name}: expected a network of your own, {', '.join(own_names()) or 'there are none'}")
    _path(name, ".json").unlink()
    _path(name, ".keras").unlink(missing_ok=True)


def _path(name: str, suffix: str) -> pathlib.Path:
    return zoo_folder() / f"{name}{suffix}"
