"""RecordedSearch: ask and tell for searches without a population, which remember all that they were told."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.search.archive import Archive
from scarlet_tf.search.genomes import decode, encode
from scarlet_tf.search.objectives import figures_and_goals

STATE_VERSION = 2
Results = list[dict | None]  # the metrics that evaluations answered; None: one failed


class RecordedSearch(abc.ABC):
    """An Algorithm but for the draws, which a subclass makes; it ends after `total_evaluations` genomes or with them."""

    def __init__(self, costs: CostTable, max_multiply_adds: float | None, min_accuracy: float | None, **metrics):
        self.costs = costs
        self.figures, self.goals = figures_and_goals(costs, max_multiply_adds, min_accuracy, **metrics)
        self.evaluations = 0
        self.hypervolume: list[float] = []  # one value a tell, of the front of all models told
        self._archive = Archive(self.figures, self.goals)
        self._told: list[tuple[np.ndarray, Results]] = []
        self._pending: np.ndarray | None = None

    @property
    @abc.abstractmethod
    def total_evaluations(self) -> int:
        """Maximum number of requested genomes."""

    @abc.abstractmethod
    def _draw(self) -> np.ndarray:
        """The next genomes [N, num_layers]; none ends the search."""

    @abc.abstractmethod
    def get_config(self) -> dict:
        """Plain JSON that tells one search from another."""

    @abc.abstractmethod
    def _learn(self, genomes: np.ndarray, results: Results) -> None:
        """Takes what a later draw may depend on."""

    @abc.abstractmethod
    def _replay(self, genomes: np.ndarray, results: Results) -> None:
        """Brings a new search, of which one tell was saved, as far as that."""

    @property
    def generation(self) -> int:
        return len(self._told)

    @property
    def finished(self) -> bool:
        ended = bool(self._told) and not len(self._told[-1][0])
        return ended or self.evaluations >= self.total_evaluations

    @property
    def pending(self) -> np.ndarray | None:
        """The genomes that were asked for and not told yet."""
        return self._pending

    @property
    def told(self) -> list[list[int]]:
        """All genomes told so far."""
        return [genome for genomes, _ in self._told for genome in genomes.tolist()]

    def ask(self) -> np.ndarray:
        """The genomes to evaluate next, int [N, num_layers]; the same ones until they are told."""
        if self._pending is None:
            if self.finished:
                raise RuntimeError(f"the search has ended after {self.evaluations} evaluations")
            self._pending = self._draw()
        return self._pending.copy()

    def tell(self, results: Sequence[Mapping | None]) -> None:
        """Takes {"accuracy": float, ...} for each genome asked for, in that order; None where evaluation failed.

        Raises InputError when an accuracy is missing or not a number from 0 to 1; nothing has changed then.
        """
        if self._pending is None:
            raise RuntimeError("tell: nothing has been asked for")
        if len(results) != len(self._pending):
            raise InputError(f"results: expected {len(self._pending)}, one a genome, got {len(results)}")
        computed = self.figures.names
        checked: Results = [None if result is None else self.goals.check(result, computed) for result in results]
        self._learn(self._pending, checked)
        self._take(self._pending, checked)
        self._pending = None

    def state_dict(self) -> dict:
        """Everything that the rest of the search depends on, in plain JSON types."""
        return {
            "version": STATE_VERSION,
            "told": [[encode(genomes), results] for genomes, results in self._told],
            "pending": None if self._pending is None else encode(self._pending),
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Inverse of `state_dict`, for a new search that was made with the same settings."""
        if state.get("version") != STATE_VERSION:
            raise InputError(f"state.version: expected {STATE_VERSION}, got {state.get('version')!r}")
        for lines, results in state["told"]:
            genomes = self._decode(lines)
            self._replay(genomes, results)
            self._take(genomes, results)
        self._pending = None if state["pending"] is None else self._decode(state["pending"])

    def _take(self, genomes: np.ndarray, results: Results) -> None:
        self.hypervolume.append(self._archive.add(genomes, results))
        self._told.append((genomes, results))
        self.evaluations += len(genomes)

    def _decode(self, lines: Sequence[str]) -> np.ndarray:
        return np.array([decode(line) for line in lines], np.int64).reshape(-1, self.costs.space.num_layers)
