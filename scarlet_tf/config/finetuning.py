"""The configuration of a fine-tuning that was asked for in words of the command line rather than in a YAML file."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from scarlet_tf.config.schema import Config, load_config, parse_config
from scarlet_tf.config.yaml_reader import override
from scarlet_tf.errors import InputError
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.space import SearchSpace


def finetune_config(source: str, settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The configuration for fine-tuning `source`: a YAML file, a name of the zoo, or a run folder.

    settings: {dotted key: value} of what was given, such as "data.directory"; `overrides`, as of `--set`, come behind them. A
    YAML file says itself which network it means. Else space and image size are the network's own; so is what its
    images went through, where a run tells that, and those of the zoo are cropped and flipped.
    """
    given = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    if source.endswith((".yaml", ".yml")):
        config = load_config(source, [*given, *overrides])
        if not config.finetune.is_wanted:
            raise InputError(f"{source}: finetune.network: expected a name of the zoo or a run folder, got null")
        return config
    values = _zoo_values(source) if source in ZOO else _run_values(source)
    for text in (*given, *overrides):
        override(values, text)
    if not values["data"].get("directory") and values["data"].get("source") == "folder":
        raise InputError("--data: expected the folder of class folders, got none")
    return parse_config(values, "scarlet finetune")


def _zoo_values(name: str) -> dict[str, Any]:
    space = ZOO[name].architecture.space
    data = {"source": "folder", "image_size": space.input_size, "augmentation": "crop_flip"}
    return _values(name, name, space, data)


def _run_values(folder: str) -> dict[str, Any]:
    path = pathlib.Path(folder)
    if not (path / "config.yaml").exists():
        raise InputError(
            f"{folder}: expected a YAML file, a run folder with config.yaml, or one of {', '.join(sorted(ZOO))}"
        )
    config = load_config(path / "config.yaml")
    kept = ("image_size", "crop_fraction", "normalization", "augmentation")
    data = {"source": "folder", **{key: getattr(config.data, key) for key in kept}}
    return _values(config.name, str(path.resolve()), config.space, data)


def _values(name: str, network: str, space: SearchSpace, data: dict) -> dict[str, Any]:
    # The space's image size is the data's, whatever it was.
    plain = {key: value for key, value in space.to_dict().items() if key != "input_size"}
    return {"name": name, "data": data, "space": plain, "finetune": {"network": network}}
