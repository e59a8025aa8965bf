"""Config: one run as a value, read from YAML; every mistake is named by its key."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scarlet_tf.config import sections
from scarlet_tf.config.recipes import expand
from scarlet_tf.config.sections import SECTIONS, ExportConfig, known_keys
from scarlet_tf.errors import InputError, nearest
from scarlet_tf.models.zoo_folder import zoo_names
from scarlet_tf.settings import did_you_mean, from_yaml, show, to_plain
from scarlet_tf.space import SearchSpace
from scarlet_tf.yaml_files import parse_yaml, read_yaml

if TYPE_CHECKING:
    from scarlet_tf.data.data_config import DataConfig
    from scarlet_tf.optimization.config import OptimizationConfig
    from scarlet_tf.ranking.config import RankingConfig
    from scarlet_tf.search.run import SearchConfig
    from scarlet_tf.training.config import FinetuneConfig, RetrainConfig, SupernetConfig


@dataclasses.dataclass(frozen=True)
class Config:
    """Configuration of one run, as given to `scarlet run`. `seed` fills every section that has a seed and does not set it."""

    name: str
    seed: int
    data: DataConfig
    space: SearchSpace
    supernet: SupernetConfig
    search: SearchConfig
    retrain: RetrainConfig
    finetune: FinetuneConfig
    optimization: OptimizationConfig
    export: ExportConfig
    ranking: RankingConfig

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, every default written out; `parse_config` reads it back."""
        values: dict[str, Any] = {"name": self.name, "seed": self.seed}
        for name in sections.section_types():
            values[name] = to_plain(getattr(self, name))
        values["space"] = _space_to_plain(self.space)
        return {key: values[key] for key in ("name", "seed", *SECTIONS)}


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
    mistakes = list(_unknown_sections(values))
    values = expand(values, mistakes)
    fields: dict[str, Any] = {"seed": values.get("seed", 0), "name": values.get("name", "run")}
    if isinstance(fields["seed"], bool) or not isinstance(fields["seed"], int) or fields["seed"] < 0:
        mistakes.append(f"seed: expected an integer >= 0, got {show(fields['seed'])}")
        fields["seed"] = 0
    if not isinstance(fields["name"], str) or not fields["name"]:
        mistakes.append(f"name: expected a string, got {show(fields['name'])}")
    for name, section in sections.section_types().items():
        raw = _with_seed(values.get(name), section, fields["seed"])
        fields[name] = from_yaml(section, raw, mistakes, name, known_keys())
    try:
        fields["space"] = _space(values.get("space"), fields["data"], folder)
    except InputError as error:
        mistakes.append(str(error))
    for name, key in (("search", "table"), ("finetune", "network"), ("finetune", "weights")):
        fields[name] = _from_folder(fields[name], key, folder)
    if mistakes:
        raise InputError("\n  ".join([f"{source}:", *mistakes]) if len(mistakes) > 1 else f"{source}: {mistakes[0]}")
    return Config(**fields)


def _from_folder(section: Any, key: str, folder) -> Any:
    """`section` with the path in `key`, if there is one, made absolute from `folder` on; names of the zoo are not paths."""
    value = getattr(section, key, None)
    if value is None or (key == "network" and value in zoo_names()):
        return section
    return dataclasses.replace(section, **{key: (pathlib.Path(folder) / value).resolve().as_posix()})


def _unknown_sections(values: Mapping) -> Iterator[str]:
    for key in values:
        if key not in ("name", "seed", *SECTIONS):
            yield f"{key}: unknown key{did_you_mean(str(key), known_keys())}"


def _with_seed(raw: Any, section: type, seed: Any) -> Any:
    raw = {} if raw is None else raw
    has_seed = any(field.name == "seed" for field in dataclasses.fields(section))
    if has_seed and isinstance(raw, Mapping) and raw.get("seed") is None:
        return {**raw, "seed": seed}
    return raw


def _space(raw: Any, data: Any, folder) -> SearchSpace:
    """The space at the size of the images, unless it names a size itself; two different sizes are a mistake."""
    if raw is None:
        raise InputError('space: missing; expected "s1", "s2", a mapping or the path of a YAML file')
    own_size = False
    if isinstance(raw, str) and raw.endswith((".yaml", ".yml")):
        space = SearchSpace.from_yaml(pathlib.Path(folder) / raw)
    elif isinstance(raw, str):
        space = SearchSpace.from_name(raw)
    else:
        space = SearchSpace.from_dict(raw)
        own_size = "input_size" in raw
    size = getattr(data, "image_size", None)
    if size is None:
        return space
    if own_size and space.input_size != size:
        raise InputError(f"space.input_size: expected {size}, which is data.image_size, got {space.input_size}")
    return dataclasses.replace(space, input_size=size)


def _space_to_plain(space: SearchSpace) -> Any:
    try:
        published = SearchSpace.from_name(space.name, input_size=space.input_size)
    except InputError:
        return space.to_dict()
    return space.name if published == space else space.to_dict()
