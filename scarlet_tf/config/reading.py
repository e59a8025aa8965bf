"""From YAML, overrides, recipes or options of a fine-tuning to a Config; all mistakes are named at once, by their keys."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from scarlet_tf.assessment.config import RankingConfig
from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.base.files import write_text
from scarlet_tf.base.mistakes import keys_of, show
from scarlet_tf.base.settings import from_yaml, to_plain
from scarlet_tf.base.yaml_files import parse_yaml, read_yaml, to_yaml, to_yaml_line
from scarlet_tf.config import schema
from scarlet_tf.config.from_parent import given_by, parent_of, space_of, with_path
from scarlet_tf.config.schema import (
    FROM_PARENT,
    PYTHON_ONLY,
    SECTIONS,
    SWITCHED,
    WITH_RECIPES,
    Config,
    RunConfig,
    hidden_keys,
    known_keys,
    recipe_names,
)
from scarlet_tf.models.zoo_data import ZOO, find_own, zoo_names
from scarlet_tf.optimization.config import OptimizationConfig
from scarlet_tf.space.search_space import SearchSpace

SWITCHES = {False: False, "off": False, True: True, "on": True}
DATA_KEYS = ("image_size", "crop_fraction", "normalization", "resizing", "augmentation")
"""Keys of the section "data" for the preparation of a run's images, which its fine-tuning uses as well."""


def load_config(path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in the YAML file `path` with `--set` overrides such as "search.generations=5" applied."""
    path = pathlib.Path(path)
    try:
        values = read_yaml(path)
    except InputError as error:
        raise InputError(f"{error}{_next_step(path)}") from error
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: expected a mapping of {', '.join(SECTIONS)}, got {show(values)}")
    values = {"name": path.stem, **values}
    for text in overrides:
        override(values, text)
    return parse_config(values, str(path), path.parent)


def override(values: dict[str, Any], text: str) -> None:
    """Apply one "section.key=value" of `--set`; the value is YAML. The schema checks key and value like any other."""
    dotted, equals, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {text}: expected key=value, such as search.generations=5")
    place = values
    for key in keys[:-1]:
        inner = place.get(key)
        if inner is not None and not isinstance(inner, Mapping):
            raise InputError(f"--set {text}: {key} is no section, it has the value {json.dumps(inner, default=str)}")
        place[key] = dict(inner or {})
        place = place[key]
    place[keys[-1]] = parse_yaml(value, f"--set {text}")


def _next_step(path: pathlib.Path) -> str:
    """Advice about a configuration that could not be read."""
    if os.path.exists(path / "config.yaml"):
        return f"; the run's configuration is {path / 'config.yaml'}"
    if os.path.exists(path):
        return ""
    others = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    name = path if path.suffix else f"{path}.yaml"
    return f"{nearest(str(path), others)}; to write one: scarlet init DATASET --budget 60M --out {name}"


def parse_config(values: Mapping[str, Any], source: str = "config", folder=".") -> Config:
    """Validate plain values; one InputError lists every mistake found, a line each, with `source` in front.

    `space` may be a published name, a mapping or the path of a YAML file, relative to `folder`, as `search.table` is, and
    `finetune.network` and `weights` are.
    `recipe` in `supernet` and `retrain` names a block of values for that section, which the section's other keys
    override; the result holds the values, not the name.
    """
    mistakes: list[str] = []
    own = {key: value for key, value in values.items() if key not in SECTIONS}
    run = from_yaml(RunConfig, own, mistakes, known=known_keys()) or RunConfig()
    values = expand(values, mistakes)
    values, parent, is_unreadable = with_path(values, folder), None, False
    try:
        parent = parent_of(values)
    except InputError as error:
        mistakes.append(str(error))
        is_unreadable = True  # so nothing is known of its space
    fields: dict[str, Any] = {}
    for name, section in schema.section_types().items():
        raw = {} if values.get(name) is None else values[name]
        if name in SWITCHED and isinstance(raw, (bool, str)) and raw in SWITCHES:
            raw = {} if SWITCHES[raw] else {SWITCHED[name]: 0}
        elif name in SWITCHED and isinstance(raw, str):
            mistakes.append(f"{name}: expected a mapping, on or off, got {show(raw)}")
            raw = {}
        if isinstance(raw, Mapping):
            kept, given = _kept(raw, name, section, hidden_keys(name, section), mistakes), run.of(section)
            raw = given | {key: value for key, value in kept.items() if value is not None or key not in given}
            raw = given_by(parent, name) | raw
        fields[name] = from_yaml(section, raw, mistakes, name, known_keys())
    try:
        if parent is None and not is_unreadable:
            fields["space"] = _space(values.get("space"), fields["data"], folder, mistakes)
        elif parent is not None and fields["data"] is not None and fields["parent"] is not None:
            fields["space"] = space_of(parent, fields["parent"], fields["data"], values.get("space"))
    except InputError as error:
        mistakes.append(str(error))
    for name, key in (("search", "table"), ("finetune", "network"), ("finetune", "weights")):
        fields[name] = _from_folder(fields[name], key, folder)
    if mistakes:
        raise InputError("\n  ".join([f"{source}:", *mistakes]) if len(mistakes) > 1 else f"{source}: {mistakes[0]}")
    return Config(**vars(run), **fields)


def _kept(raw: Mapping, prefix: str, section: type, hidden: Mapping[str, str], mistakes: list[str]) -> dict[str, Any]:
    """`raw` without the hidden keys, which are added to the mistakes with what stands for them, but for their defaults."""
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        dotted = f"{prefix}.{key}"
        if dotted not in hidden:
            kept[key] = _kept(value, dotted, section, hidden, mistakes) if isinstance(value, Mapping) else value
        elif dotted not in PYTHON_ONLY or value != _default(section, dotted):
            mistakes.append(f"{dotted}: unknown key; {hidden[dotted]}")
    return kept


def _default(section: type, dotted: str) -> Any:
    """The default of a field, in plain values, None where the section has none; `dotted` begins with the section's name."""
    value: Any = to_plain(section())
    for key in dotted.split(".")[1:]:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _from_folder(section: Any, key: str, folder) -> Any:
    """`section` with the path in `key`, if there is one, made absolute from `folder` on; names of the zoo are not paths."""
    value = getattr(section, key, None)
    if value is None or (key == "network" and value in zoo_names()):
        return section
    return dataclasses.replace(section, **{key: (pathlib.Path(folder) / value).resolve().as_posix()})


def _space(raw: Any, data: Any, folder, mistakes: list[str]) -> SearchSpace | None:
    """The space at the size of the images, unless it names a size itself; two different sizes are a mistake."""
    if raw is None:
        raise InputError('space: missing; expected "s1", "s2", a mapping or the path of a YAML file')
    if raw == FROM_PARENT:
        raise InputError(f"space: expected a space, since parent.name is null, got {FROM_PARENT}")
    if isinstance(raw, str) and raw.endswith((".yaml", ".yml")):
        space = SearchSpace.from_yaml(pathlib.Path(folder) / raw)
    elif isinstance(raw, str):
        space = SearchSpace.from_name(raw)
    else:
        space = from_yaml(SearchSpace, raw, mistakes, known=known_keys())
    size = getattr(data, "image_size", None)
    if size is None or space is None:
        return space
    if isinstance(raw, Mapping) and "input_size" in raw and space.input_size != size:
        raise InputError(f"space.input_size: expected {size}, which is data.image_size, got {space.input_size}")
    return dataclasses.replace(space, input_size=size)


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
    data = {"source": "folder", **{key: to_plain(config.data)[key] for key in DATA_KEYS}}
    return _values(config.name, str(path.resolve()), config.space, data)


def _values(name: str, network: str, space: SearchSpace, data: dict) -> dict[str, Any]:
    # The space's image size is the data's, whatever it was.
    plain = {key: value for key, value in space.to_dict().items() if key != "input_size"}
    return {"name": name, "data": data, "space": plain, "finetune": {"network": network}}


def expand(values: Mapping[str, Any], mistakes: list[str]) -> dict[str, Any]:
    """`values` with every `recipe` replaced by its values; values written beside it take precedence.

    The configuration's own values of `data` take precedence over the recipes'. Mistakes are added to the list: an unknown
    name, and two recipes with different values for one key of `data` that the configuration does not give.
    """
    expanded = dict(values)
    data: dict = {}
    for section in WITH_RECIPES:
        raw = values.get(section)
        if not isinstance(raw, Mapping) or "recipe" not in raw:
            continue
        expanded[section] = {key: value for key, value in raw.items() if key != "recipe"}
        name = raw["recipe"]
        if name is None:
            continue
        if not isinstance(name, str) or name not in recipe_names(section):
            mistakes.append(f"{section}.recipe: expected one of {', '.join(recipe_names(section))}, got {show(name)}")
            continue
        blocks = schema.recipes()[name]
        expanded[section] = {**blocks[section], **expanded[section]}
        for key, value in blocks.get("data", {}).items():
            data.setdefault(key, {})[name] = value
    own = values.get("data")
    if not data or not (own is None or isinstance(own, Mapping)):
        return expanded
    own = own or {}
    for key, wanted in data.items():
        if key not in own and len({show(value) for value in wanted.values()}) > 1:
            both = " and ".join(f"{show(value)} ({name})" for name, value in wanted.items())
            mistakes.append(f"data.{key}: expected a value, since the recipes want different ones: {both}, got none")
    expanded["data"] = {**{key: next(iter(wanted.values())) for key, wanted in data.items()}, **own}
    return expanded


# -- The run folder's copy of the configuration, and the refusal of a folder that belongs to another one -----------


# Keys that may differ when a run folder is used again, since nothing that is computed depends on them: `lanes` that ran
# out of memory may continue as `sequential`. No other stage uses a ranking, which keeps its results by their settings;
# an optimisation records its settings, and with other ones it and the export are done again.
# Any other change would mix two experiments.
MAY_DIFFER = frozenset(
    {
        "checkpoint_seconds",
        "csv",
        "data.memory_bytes",
        "race.max_hours",
        "search.evaluation_memory_mib",
        "search.stale_trial_minutes",
        "supernet.execution",
        "supernet.jit_compile",
        "supernet.monitor_paths",
        "tensorboard",
    }
    | {*keys_of(RankingConfig, "ranking"), *keys_of(OptimizationConfig, "optimization")}
)


def check_run_dir(run_dir, config: Config, may_differ: frozenset[str] = MAY_DIFFER) -> None:
    """Refuse a folder that belongs to another configuration or space, naming the keys with both values."""
    path = _path(run_dir)
    if not path.exists():
        return
    try:
        known = load_config(path).to_dict()
    except InputError as error:
        raise InputError(f"{error}\n  remove this copy if the run was begun with the configuration of now") from error
    lines = [
        f"{key}: {show(old)} in the folder, {show(new)} now"
        for key, (old, new) in differing_keys(known, config.to_dict()).items()
        if key not in may_differ
    ]
    if lines:
        head = f"{run_dir}: it belongs to another configuration; use another --run-dir, or undo these changes:"
        raise InputError("\n  ".join([head, *lines]))


def claim_run_dir(run_dir, config: Config, may_differ: frozenset[str] = MAY_DIFFER) -> None:
    """Write the resolved configuration to run_dir/config.yaml, unless the folder has it already."""
    check_run_dir(run_dir, config, may_differ)
    if not _path(run_dir).exists():
        header = "# The configuration of this run, with every default written out.\n"
        write_text(_path(run_dir), header + to_yaml(config.to_dict()))


def _path(run_dir) -> pathlib.Path:
    return pathlib.Path(run_dir) / "config.yaml"


def differing_keys(old: Mapping, new: Mapping, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values; a key that one side lacks counts as null there."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*old, *new]):
        left, right = old.get(key), new.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found |= differing_keys(left, right, f"{prefix}{key}.")
        elif left != right:
            found[prefix + key] = (left, right)
    return found
