"""Record: everything that the page states about a run, and View: how it shows runs of one method."""

from __future__ import annotations

import abc
import dataclasses
import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from scarlet_tf.report.blocks import Card, Note
from scarlet_tf.results import (
    Certificate,
    Comparison,
    Dataset,
    InputSizes,
    MonitorRecord,
    NetworkResult,
    OptimizedResult,
    RaceResult,
    Ranking,
    SupernetResult,
)
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.search_space import SearchSpace


@dataclasses.dataclass(frozen=True)
class StageState:
    """A stage of the run: its command, its completion, and the seconds that it took so far."""

    name: str
    is_done: bool
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """A run, complete or not; results that do not exist (yet) are None.

    settings: the configuration in plain types; config_text: the same as the folder's YAML.
    bounds: of the search, in words; keeps_bounds: True if the exported network keeps those on its costs, None if not
    known yet. wanted: choices of the network that is, or would be, retrained. known_by: how the search knows accuracies.
    sizes: what a search at each of several input sizes found.
    evaluated: {"architecture", ...metrics} of all that the search evaluated. epochs: of the supernet's training, which may be
    under way, as may be the search, to which `hypervolume` belongs.
    warnings: about all figures, such as a training that learned nothing.
    unreadable: damaged files, with the reason.
    """

    name: str
    folder: pathlib.PurePath
    space: SearchSpace
    image_size: int
    view: View
    settings: Mapping[str, Any]
    config_text: str
    stages: Sequence[StageState]
    seeds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    bounds: Sequence[str] = ()
    keeps_bounds: bool | None = None
    wanted: str | None = None
    known_by: str = "one-shot"
    evaluated: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    unreadable: Sequence[str] = ()
    epochs: Sequence[Mapping[str, Any]] = ()
    hypervolume: Sequence[float] = ()
    dataset: Dataset | None = None
    supernet: SupernetResult | None = None
    monitor: MonitorRecord | None = None
    front: SearchResult | None = None
    ranking: Ranking | None = None
    comparison: Comparison | None = None
    sizes: InputSizes | None = None
    race: RaceResult | None = None
    network: NetworkResult | None = None
    optimized: OptimizedResult | None = None
    certificate: Certificate | None = None

    @property
    def next_stage(self) -> StageState | None:
        """The first stage that is not done."""
        return next((stage for stage in self.stages if not stage.is_done), None)

    def command(self, name: str, *further: str) -> str:
        """`scarlet <name>` on this run's folder with its own configuration."""
        words = ["scarlet", name, str(self.folder / "config.yaml"), "--run-dir", str(self.folder), *further]
        return shlex.join(words)

    def new_run_command(self, suffix: str, *further: str) -> str:
        """`scarlet run` with this run's configuration and further options in a folder of its own."""
        words = ["scarlet", "run", str(self.folder / "config.yaml"), "--run-dir", f"{self.folder}_{suffix}", *further]
        return shlex.join(words)


class View(abc.ABC):
    """Presentation of the runs of one method on the page.

    sections: identifiers of the sections that it has. is_searched: True if the method chooses a network within bounds; verb: what
    it does to get its network; training: what its network's own training is called. kept: files and folders with which a
    run with another pick begins. has_histogram: True if the networks that were evaluated are a sample worth a histogram.
    """

    sections: ClassVar[tuple[str, ...]]
    is_searched: ClassVar[bool] = True
    verb: ClassVar[str] = "found"
    training: ClassVar[str] = "retrained"
    kept: ClassVar[tuple[str, ...]] = ("supernet", "search")
    has_histogram: ClassVar[bool] = True

    @abc.abstractmethod
    def trust(self, record: Record) -> list[Card]:
        """The card that judges the ranking of networks, if there is one to judge."""

    @abc.abstractmethod
    def supernet_note(self, record: Record) -> Note:
        """A note about a supernet that was not monitored."""

    @abc.abstractmethod
    def search(self, record: Record) -> Iterator[Any]:
        """Blocks about how the network was chosen."""

    @abc.abstractmethod
    def update_counts(self, record: Record) -> np.ndarray | None:
        """Updates of each choice [num_layers, num_choices], None before the training's end."""
