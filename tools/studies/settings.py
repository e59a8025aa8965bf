"""Study: one study as a value, read from YAML; every mistake is named by its key."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from annotated_types import MinLen

from scarlet_tf.assessment.config import RankingConfig
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.mistakes import show
from scarlet_tf.base.settings import AboveZero, Count, Whole, from_yaml, to_plain, validated
from scarlet_tf.base.yaml_files import read_yaml
from scarlet_tf.config.reading import override
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.search.config import SearchConfig
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.config import RetrainConfig, SupernetConfig

MAX_TABLE = 20_000  # networks that are measured individually


@validated("panel")
@dataclasses.dataclass(frozen=True)
class PanelConfig:
    """`paths` different random paths, the same for every supernet; BN is recalibrated over so many batches of images."""

    paths: Count = 50
    seed: Whole = 0
    recalibration_batches: Count = 10
    batch_size: Count = 250

    def misfits(self, study: Study) -> Iterator[str]:
        """Mistakes that only show beside the study's other sections; so in all sections here."""
        if self.paths > study.space.size:
            yield f"panel.paths: expected at most the space's {study.space.size} paths"


@validated("curves")
@dataclasses.dataclass(frozen=True)
class CurvesConfig:
    """A stand-alone network, `architecture`, that is trained once with each kind of skip in it."""

    architecture: str
    skips: tuple[Literal["let", "relu", "identity", "nothing"], ...] = ("let", "relu")

    def __post_init__(self):
        if not self.skips or len(set(self.skips)) != len(self.skips):
            raise InputError(f"curves.skips: expected at least one kind and no repeats, got {list(self.skips)}")

    def misfits(self, study: Study) -> Iterator[str]:
        for error in _refused(lambda text: Architecture.parse(text, study.space), [self.architecture]):
            yield f"curves.{error}"


@validated("similarity")
@dataclasses.dataclass(frozen=True)
class SimilarityConfig:
    """The layers (0 is the first) whose choices are compared, on `images` images after `prefixes` random paths."""

    layers: tuple[int, ...]
    prefixes: Count = 8
    images: Count = 256
    seed: Whole = 0

    def misfits(self, study: Study) -> Iterator[str]:
        layers, last = self.layers, study.space.num_layers - 1
        if not layers or not all(0 <= layer <= last for layer in layers) or study.space.num_choices < 2:
            yield f"similarity.layers: expected layers from 0 to {last} with at least 2 choices, got {list(layers)}"


@validated("table")
@dataclasses.dataclass(frozen=True)
class TableConfig:
    """Measurement of accuracies: on `images` validation images, BN recalibrated over so many training batches.

    exhaustive: every network of the space is measured first; else only those that a search requests.
    """

    images: Count = 1000
    recalibration_batches: Count = 4
    batch_size: Count = 128
    seed: Whole = 0
    exhaustive: bool = True

    def misfits(self, study: Study) -> Iterator[str]:
        if self.exhaustive and study.space.size > MAX_TABLE:
            yield f"table.exhaustive: expected a space of at most {MAX_TABLE} networks, got {study.space.size}"


@validated("comparison")
@dataclasses.dataclass(frozen=True)
class ComparisonConfig:
    """Searches with the seeds 0 .. seeds - 1 that may evaluate so many different networks each.

    algorithms: by name, the changes of each to the section `search`; one of them is "random", the reference of the
    others. fractions: of the hypervolume of the front of all networks (of the evaluated ones if the table is not
    exhaustive); for each the number of evaluations that a search needs is stated.
    """

    algorithms: dict[str, dict[str, Any]]
    seeds: Count = 20
    evaluations: Count = 300
    fractions: Annotated[tuple[AboveZero, ...], MinLen(1)] = (0.9, 0.95, 0.99)

    def __post_init__(self):
        if "random" not in self.algorithms:
            raise InputError(f"comparison.algorithms: expected random among them, got {', '.join(self.algorithms)}")

    def variant(self, name: str, search: SearchConfig, seed: int) -> SearchConfig:
        """The settings of one search; InputError for keys and values that no search has."""
        try:
            return SearchConfig(**{**vars(search), **self.algorithms[name], "seed": seed})
        except InputError as error:
            raise InputError(f"comparison.algorithms.{name}: {error}") from error

    def misfits(self, study: Study) -> Iterator[str]:
        search = study.sections["search"]
        if self.evaluations < search.population_size:
            yield f"comparison.evaluations: expected at least search.population_size, {search.population_size}"
        yield from _refused(lambda name: self.variant(name, search, 0), self.algorithms)


def _refused(make: Callable, names: Iterable) -> Iterator[str]:
    """Messages of the names for which `make` raises InputError."""
    for name in names:
        try:
            make(name)
        except InputError as error:
            yield str(error)


KINDS: dict[str, dict[str, type]] = {
    "one_shot": {"panel": PanelConfig},
    "curves": {"curves": CurvesConfig, "retrain": RetrainConfig},
    "similarity": {"similarity": SimilarityConfig},
    "ranking": {"ranking": RankingConfig, "retrain": RetrainConfig},
    "search": {"table": TableConfig, "search": SearchConfig, "comparison": ComparisonConfig},
}
_COMMON = ("study", "base", "seeds", "data", "space", "supernet", "supernets")


@dataclasses.dataclass(frozen=True)
class Study:
    """One study: `supernets` by name (none for curves), and the sections of its kind by theirs."""

    name: str
    kind: str
    seeds: tuple[int, ...]
    data: DataConfig
    space: SearchSpace
    supernets: dict[str, SupernetConfig]
    sections: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, every default written out."""
        return {
            "name": self.name,
            "kind": self.kind,
            "seeds": list(self.seeds),
            "data": to_plain(self.data),
            "space": self.space.to_dict(),
            "supernets": {name: to_plain(config) for name, config in self.supernets.items()},
            **{name: to_plain(section) for name, section in self.sections.items()},
        }


def load_study(path, overrides: Sequence[str] = ()) -> Study:
    """The study in the YAML file `path`, named after the file; `base` names a file whose keys it inherits.

    `supernet` holds what all `supernets` share. One InputError lists every mistake found.
    """
    path = pathlib.Path(path)
    values = _read(path)
    if "base" in values:
        values = {**_read(path.parent / str(values["base"])), **values}
    for text in overrides:
        override(values, text)
    mistakes: list[str] = []
    kind = values.get("study")
    if kind not in KINDS:
        raise InputError(f"{path}: study: expected one of {', '.join(KINDS)}, got {show(kind)}")
    known = dict.fromkeys((*_COMMON, *KINDS[kind]))
    mistakes += [f"{key}: unknown key; expected one of {', '.join(known)}" for key in values if key not in known]
    study = Study(
        name=path.stem,
        kind=kind,
        seeds=_seeds(values.get("seeds"), mistakes),
        data=cast(DataConfig, from_yaml(DataConfig, values.get("data") or {}, mistakes)),
        space=cast(SearchSpace, _space(values.get("space"), mistakes)),  # None only with a mistake
        supernets=_supernets(values, kind, mistakes),
        sections={
            name: from_yaml(section, values.get(name) or {}, mistakes, name) for name, section in KINDS[kind].items()
        },
    )
    if not mistakes:
        study = dataclasses.replace(study, space=dataclasses.replace(study.space, input_size=study.data.image_size))
        mistakes += _misfits(study)
    if mistakes:
        raise InputError("\n  ".join([f"{path}:", *mistakes]) if len(mistakes) > 1 else f"{path}: {mistakes[0]}")
    return study


def _read(path: pathlib.Path) -> dict:
    values = read_yaml(path)
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: expected a mapping, got {show(values)}")
    return dict(values)


def _seeds(raw: Any, mistakes: list[str]) -> tuple[int, ...]:
    fits = isinstance(raw, list) and raw and all(type(seed) is int and seed >= 0 for seed in raw)
    if not fits or len(set(raw)) != len(raw):
        mistakes.append(f"seeds: expected a list of different integers >= 0, got {show(raw)}")
        return ()
    return tuple(raw)


def _space(raw: Any, mistakes: list[str]) -> SearchSpace | None:
    try:
        return SearchSpace.from_name(raw) if isinstance(raw, str) else SearchSpace.from_dict(raw)
    except InputError as error:
        mistakes.append(str(error))
        return None


def _supernets(values: Mapping, kind: str, mistakes: list[str]) -> dict[str, SupernetConfig]:
    if kind == "curves":
        return {}
    shared, variants = values.get("supernet") or {}, values.get("supernets")
    if not isinstance(shared, Mapping) or not isinstance(variants, Mapping) or not variants:
        mistakes.append(f"supernets: expected a mapping of names to what differs from supernet, got {show(variants)}")
        return {}
    found = {}
    for name, changes in variants.items():
        if not isinstance(changes, Mapping) or "seed" in changes:
            mistakes.append(f"supernets.{name}: expected a mapping without seed, got {show(changes)}")
            continue
        found[name] = cast(
            SupernetConfig, from_yaml(SupernetConfig, {**shared, **changes}, mistakes, f"supernets.{name}")
        )
    return found


def _misfits(study: Study) -> list[str]:
    """Mistakes between sections that are each valid."""
    mistakes: list[str] = []
    for section in study.sections.values():
        if isinstance(section, RankingConfig):
            mistakes += _refused(section.training, [study.sections["retrain"]])
        elif hasattr(section, "misfits"):
            mistakes += section.misfits(study)
    return mistakes
