"""The configuration of a fine-tuning that is described on the command line rather than in a YAML file."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from scarlet_tf.config.reading import load_config, override, parse_config
from scarlet_tf.config.schema import Config
from scarlet_tf.errors import InputError, nearest
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.models.zoo_folder import find_own, zoo_names
from scarlet_tf.space import SearchSpace
from scarlet_tf.yaml_files import to_yaml_line

DATA_KEYS = ("image_size", "crop_fraction", "normalization", "augmentation")
"""Keys of the section "data" for the preparation of a run's images, which its fine-tuning uses as well."""


def finetune_config(source: str, settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The configuration for fine-tuning `source`: a YAML file, the name of a published or registered network, or a run folder.

    settings: {dotted key: value} as given, such as "data.directory"; `overrides`, as of `--set`, are applied after them. A
    YAML file names its network itself. Otherwise space and image size are the network's own; so is the preparation of
    its images, if a run states it, and images for the zoo's networks are cropped and flipped.
    """
    given = [f"{key}={to_yaml_line(value)}" for key, value in settings.items()]
    if source.endswith((".yaml", ".yml")):
        config = load_config(source, [*given, *overrides])
        if not config.finetune.is_wanted:
            raise InputError(f"{source}: finetune.network: expected a name of the zoo or a run folder, got null")
        return config
    if source in ZOO:
        values = _zoo_values(source)
    else:
        values = _own_values(source) or _run_values(source)
    for text in (*given, *overrides):
        override(values, text)
    if not values["data"].get("directory") and values["data"].get("source") == "folder":
        raise InputError("--data: expected the folder of class folders, got none")
    return parse_config(values, "scarlet finetune")


def _zoo_values(name: str) -> dict[str, Any]:
    space = ZOO[name].architecture.space
    data = {"source": "folder", "image_size": space.input_size, "augmentation": "crop_flip"}
    return _values(name, name, space, data)


def _own_values(name: str) -> dict[str, Any] | None:
    """The values of a registered network, None for other names; InputError for one without weights."""
    entry = find_own(name)
    if entry is None:
        return None
    if entry.source is None:
        raise InputError(f"{name}: expected a network with weights, it was added without them; add a retrained one")
    space = SearchSpace.from_dict(entry.source["space"])
    return _values(name, name, space, {"source": "folder", **entry.source["data"]})


def _run_values(folder: str) -> dict[str, Any]:
    path = pathlib.Path(folder)
    if not (path / "config.yaml").exists():
        raise InputError(
            f"{folder}: expected a YAML file, a run folder with config.yaml, or one of {', '.join(zoo_names())}"
            f"{nearest(folder, zoo_names())}"
        )
    config = load_config(path / "config.yaml")
    data = {"source": "folder", **{key: getattr(config.data, key) for key in DATA_KEYS}}
    return _values(config.name, str(path.resolve()), config.space, data)


def _values(name: str, network: str, space: SearchSpace, data: dict) -> dict[str, Any]:
    # The space's image size is the data's, whatever it was.
    plain = {key: value for key, value in space.to_dict().items() if key != "input_size"}
    return {"name": name, "data": data, "space": plain, "finetune": {"network": network}}
