"""Results of a run's stages: the values that each stage hands to the next, and their files in the run folder.

A result's file is JSON that `files.write_result` signs; its keys are the fields. A field that is None by default and still is
has no key. Keys without a field are not read.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result
from scarlet_tf.base.words import before_scaling, percent, plural
from scarlet_tf.space.scaling import Scaling
from scarlet_tf.space.search_space import Architecture, SearchSpace

Row = Mapping[str, Any]
"""One line of a table, such as an epoch of a history: its keys depend on what was trained and measured."""


@dataclasses.dataclass(frozen=True)
class Result:
    """A result with a file of its own, FILE, in the run folder."""

    FILE: ClassVar[str]

    @classmethod
    def read(cls, folder, space: SearchSpace) -> Self:
        """The result as `write` left it in a run's folder.

        Raises InputError that names the file, and the key, if the file is missing, damaged or of another version.
        """
        path = pathlib.Path(folder) / cls.FILE
        return from_json(cls, read_json(path), str(path), space)

    def write(self, folder, space: SearchSpace) -> Self:
        """Write the file, atomically, and return the result as `read` returns it."""
        path, values = pathlib.Path(folder) / self.FILE, to_json(self)
        write_result(path, values)
        return from_json(type(self), values, str(path), space)


@dataclasses.dataclass(frozen=True)
class Dataset(Result):
    """Identity of a dataset and its division. `examples`: number of images in each split."""

    FILE = "dataset.json"
    name: str
    classes: tuple[str, ...]
    examples: Mapping[str, int]
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class SupernetResult(Result):
    """Training of a supernet.

    history: one row an epoch. steps: those that were done; stopped: why not all were. not_learning: see Learning.
    importances: of the choices, if BetaNAS trained them; see train_betanas.
    """

    FILE = "supernet/result.json"
    history: tuple[Row, ...] = ()
    steps: int = 0
    stopped: str | None = None
    not_learning: Row | None = None
    importances: Row | None = None


@dataclasses.dataclass(frozen=True)
class InputSizes(Result):
    """The side of the images, in pixels, at which a search found most, and what it found at each.

    measured: "input_size", "evaluations", and of the best network "accuracy", "score", "multiply_adds" and "architecture".
    """

    FILE = "search/sizes/result.json"
    chosen: int
    measured: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Score:
    """Accuracy of a network on `num_examples` images, 0 to 1.

    most_frequent: share of the most frequent class; above_chance: False if the accuracy does not exceed it by more than the
    sampling error. None: not measured.
    """

    accuracy: float
    num_examples: int
    loss: float | None = None
    most_frequent: float | None = None
    above_chance: bool | None = None

    @property
    def warning(self) -> str | None:
        """Warning that a network is no better than chance on test images; None if it is better, or if not known."""
        if self.above_chance is None or self.above_chance:
            return None
        images = plural(self.num_examples, "test image")
        return (
            f"the network is not better than chance: top-1 of {percent(self.accuracy)} on {images}"
            f" is not above the {percent(self.most_frequent)} of their most frequent class by more than the sampling error"
        )


@dataclasses.dataclass(frozen=True)
class RaceResult(Result):
    """A race of finalists and rivals; see `race`.

    winner: the name of the network that is delivered. judge: "float32" or "int8". goals: steps after which the rungs end;
    steps_per_epoch: of each training. entrants: one row each: name, kind ("finalist", "rival" or "proposed"), words,
    architecture (text, None for a spec), input_size, multiply_adds, params, score, rungs (a row each that it finished),
    history, and dropped, the number of the rung, counted from 1, after which it ended. gains: of the winner over others, on
    the test images. verdict: these in sentences. tau: figures of `kendall` of the scores and the accuracies after the first
    rung. stopped: why not all rungs were run. notes: what else has to be known, such as fewer finalists than were asked for.
    """

    FILE = "race/result.json"
    winner: str
    judge: str
    goals: tuple[int, ...]
    steps_per_epoch: int
    entrants: tuple[Row, ...]
    gains: tuple[Row, ...] = ()
    verdict: tuple[str, ...] = ()
    tau: Row | None = None
    stopped: str | None = None
    notes: tuple[str, ...] = ()

    def row(self, name: str) -> Row:
        """The row of an entrant."""
        return next(row for row in self.entrants if row["name"] == name)

    @property
    def is_upset(self) -> bool:
        """True if a rival won."""
        return self.row(self.winner)["kind"] == "rival"

    @property
    def table(self) -> list[Row]:
        """A row for each network, those that came furthest first: its last steps, accuracy and loss on validation images."""
        rows = []
        for row in self.entrants:
            last = dict(row["rungs"][-1]) if row["rungs"] else {}
            figures = {key: last.get(key) for key in ("steps", "accuracy", "loss", "int8")}
            about = {key: row[key] for key in ("name", "kind", "architecture", "input_size", "multiply_adds", "params")}
            rows.append({**about, "won": row["name"] == self.winner, "dropped": row["dropped"], **figures})
        return sorted(
            rows, key=lambda row: (not row["won"], -(row["steps"] or 0), row["loss"] or 0.0, -(row["accuracy"] or 0))
        )

    @property
    def figures(self) -> Row:
        """The outcome without the networks' rows, in plain JSON types."""
        return {
            "winner": self.winner,
            **{key: self.row(self.winner)[key] for key in ("kind", "words")},
            "entrants": len(self.entrants),
            **_some(self, "judge", "verdict", "gains", "tau", "stopped", "notes"),
        }


@dataclasses.dataclass(frozen=True)
class NetworkResult(Result):
    """A network that was retrained or fine-tuned: its origin, costs, accuracies and training.

    architecture: as searched. init: "scratch", "supernet" or "finetune". folding: one row for each LET that was folded before
    the training. pick, one_shot_accuracy, passed_over: of a searched network; see Start. origin: of a fine-tuned one. parent:
    name, source and fingerprint of the trained network that its supernet started from.
    race: `figures` of the race that it won. input_size: of its images, if it is not the run's.
    scaling and the searched costs: of a network that was scaled after the search. weights_sha256: of all weights.
    """

    FILE = "retrain/result.json"
    architecture: Architecture
    init: str
    multiply_adds: int
    params: int
    test: Score
    validation: Score
    folding: tuple[Row, ...] = ()
    pick: int | str | None = None
    one_shot_accuracy: float | None = None
    passed_over: tuple[Row, ...] = ()
    origin: Row | None = None
    parent: Row | None = None
    race: Row | None = None
    input_size: int | None = None
    scaling: Scaling | None = None
    searched_multiply_adds: int | None = None
    searched_params: int | None = None
    weights_sha256: str | None = None
    history: tuple[Row, ...] = ()
    steps: int = 0
    stopped: str | None = None
    not_learning: Row | None = None

    @property
    def scaling_figures(self) -> Row:
        """Keys and values of the scaling and the costs before it, in plain JSON types; empty if it was not scaled."""
        return {} if self.scaling is None else _some(self, "scaling", "searched_multiply_adds", "searched_params")

    @property
    def as_searched(self) -> str | None:
        """The scaling and the costs before it in words; None if it was not scaled."""
        if self.scaling is None:
            return None
        return before_scaling(self.scaling, self.searched_multiply_adds or 0, self.searched_params or 0)

    @property
    def provenance(self) -> Row:
        """Keys and values that say where the weights came from, in plain JSON types."""
        return {**_some(self, "init", "origin", "parent", "input_size"), **self.scaling_figures}

    @property
    def lineage(self) -> Row:
        """Keys and values that a network fine-tuned from this one shares with it, in plain JSON types."""
        return {**_some(self, "architecture", "folding"), **self.scaling_figures}


@dataclasses.dataclass(frozen=True)
class OptimizedResult(Result):
    """Quantisation-aware training and pruning. `settings`: of the section "optimization", to which the results belong."""

    FILE = "optimize/result.json"
    settings: Row
    quantization_aware: Row | None = None
    pruning: Row | None = None
    weights_sha256: str | None = None

    @property
    def figures(self) -> Row:
        """All but the settings, in plain JSON types."""
        return _some(self, "quantization_aware", "pruning", "weights_sha256")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The monitor's judgement of a supernet's ranking: trusted or not, None if undecided; why; and its checks by name."""

    trusted: bool | None
    text: str
    checks: Mapping[str, Row]


@dataclasses.dataclass(frozen=True)
class MonitorRecord(Result):
    """Measurements of a supernet's monitor; see Monitor for the fields."""

    FILE = "supernet/monitor.json"
    panel: tuple[tuple[int, ...], ...]
    examples: int
    update_counts: tuple[tuple[int, ...], ...]
    epochs: tuple[Row, ...]
    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class Ranking(Result):
    """Forecasts of accuracies against networks' own trainings; see `rank`. tau: figures of `kendall` by its kind."""

    FILE = "ranking/result.json"
    tau: Mapping[str, Row]
    networks: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class ComparedSearch:
    """Searches of one kind: medians over `seeds` seeds with their intervals, and the course of each search."""

    seeds: int
    hypervolume: Row
    evaluations_to_target: Row
    searches: tuple[Row, ...]
    ratio_to_random: Row | None = None


@dataclasses.dataclass(frozen=True)
class Comparison(Result):
    """Searches of several kinds with as many evaluations each; see `compare`."""

    FILE = "compare/compare.json"
    target: float
    evaluations: int
    algorithms: Mapping[str, ComparedSearch]


@dataclasses.dataclass(frozen=True)
class Certificate(Result):
    """The evidence for the exported files; see make_certificate for the fields."""

    FILE = "export/certificate.json"
    certificate_version: int
    architecture: Row
    space_fingerprint: str
    multiply_adds: int
    params: int
    passed: bool
    files: tuple[Row, ...]
    other_files: tuple[Row, ...]
    host: Row | None
    seeds: Mapping[str, int]
    dataset: Row
    versions: Mapping[str, str]
    details: Row


def to_json(value: Any) -> Any:
    """`value` in plain JSON types; a number that JSON cannot hold becomes null."""
    if isinstance(value, Architecture):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {f.name: to_json(inner) for f, inner in kept if inner is not None or f.default is not None}
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_json(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def from_json(kind: type, values: Any, where: str, space: SearchSpace | None = None) -> Any:
    """A dataclass `kind` of plain JSON `values`; InputError names `where` and the key that is missing or of another type."""
    import pydantic  # takes a third of a second, which `scarlet --help` does without

    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected a mapping, got {type(values).__name__}")
    if space is not None and isinstance(values.get("architecture"), Mapping) and kind is NetworkResult:
        try:
            values = {**values, "architecture": Architecture.from_dict(values["architecture"], space)}
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    try:
        return pydantic.TypeAdapter(kind).validate_python(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        found = "it is missing" if first["type"] == "missing" else f"{first['msg']}, got {first['input']!r}"
        raise InputError(f"{where}: {key}: {found}; expected a file as this version writes it") from error


def _some(value: Any, *names: str) -> Row:
    """Fields that are not None, by name, in plain JSON types."""
    return {name: to_json(inner) for name in names if (inner := getattr(value, name)) is not None}
