"""Record: everything that the page states about a run, as read from the run's folder."""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from scarlet_tf.space import SearchSpace


@dataclasses.dataclass(frozen=True)
class StageState:
    """A stage of the run: its command, its completion, and the seconds that it took so far."""

    name: str
    is_done: bool
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """A run, complete or not.

    algorithm: of the search, such as "nsga2" or "betanas"; None for a run that fine-tunes.
    settings: the configuration in plain types; config_text: the same as the folder's YAML.
    bounds: of the search, in words; keeps_bounds: True if the exported network keeps those on its costs, None if not
    known yet. wanted: choices of the network that is, or would be, retrained.
    evaluated: {"architecture", ...metrics} of all that the search evaluated.
    warnings: about all figures, such as a training that learned nothing.
    unreadable: damaged files, with the reason.
    The mappings that follow are the files of the run's folder, empty for those that do not exist (yet).
    """

    name: str
    folder: pathlib.PurePath
    space: SearchSpace
    image_size: int
    algorithm: str | None
    settings: Mapping[str, Any]
    config_text: str
    stages: Sequence[StageState]
    seeds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    bounds: Sequence[str] = ()
    keeps_bounds: bool | None = None
    wanted: str | None = None
    evaluated: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    unreadable: Sequence[str] = ()
    dataset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    supernet: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    monitor: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    hypervolume: Sequence[float] = ()  # after each generation so far, of a search that has no front yet
    front: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ranking: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    comparison: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    retrained: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    optimization: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    certificate: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_searched(self) -> bool:
        """True if the run searches for its network, rather than fine-tuning a given one."""
        return self.algorithm is not None

    @property
    def is_betanas(self) -> bool:
        return self.algorithm == "betanas"

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
