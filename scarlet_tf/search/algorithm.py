"""Algorithm: a search as ask and tell; and random search, the baseline and the smallest example of one."""

from __future__ import annotations

import abc
import importlib.metadata
import math
from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.front import Archive
from scarlet_tf.search.objectives import cost_model_and_objectives, is_number
from scarlet_tf.space.cost import CostTable

Metrics = Mapping | None  # of one genome by name; None: its evaluation failed


class Algorithm(abc.ABC):
    """A search: it asks for genomes, is told their metrics, and asks for others.

    It is deterministic: settings and what it was told decide all that it asks for, so a search is resumed by telling it
    again what a journal has (see Engine). A subclass draws the genomes and learns from their metrics.

    evaluations: genomes told so far, repeats counted; total_evaluations: at the end.
    hypervolume: one value a tell, 0..1, see HypervolumeBox. cost_model: what is known of a genome without evaluation.
    objectives: what is optimised, and the bounds.

    Args:
        metrics: weights, upper_bounds, lower_bounds, directions and table, see cost_model_and_objectives.
    """

    ahead = 0  # how many batches are asked for before the one in front of them is told, see `ask_ahead`

    def __init__(
        self,
        costs: CostTable,
        total_evaluations: int,
        max_multiply_adds: float | None,
        min_accuracy: float | None,
        **metrics,
    ):
        self.costs, self.space = costs, costs.space
        self.total_evaluations = total_evaluations
        self.cost_model, self.objectives = cost_model_and_objectives(costs, max_multiply_adds, min_accuracy, **metrics)
        self.evaluations = 0
        self.hypervolume: list[float] = []
        self._asked: list[np.ndarray] = []  # and not told yet, in order
        self._has_more = True

    @abc.abstractmethod
    def _draw(self) -> np.ndarray:
        """Return the next genomes [N, num_layers]; none ends the search."""

    @abc.abstractmethod
    def _learn(self, genomes: np.ndarray, metrics: list[dict | None]) -> float:
        """Take what later draws depend on; return the hypervolume. Where it raises, nothing has changed."""

    @abc.abstractmethod
    def get_config(self) -> dict:
        """Plain JSON that tells one search from another; the number of evaluations, which may be raised, is no part of it."""

    @property
    def generation(self) -> int:
        """Number of generations told so far."""
        return len(self.hypervolume)

    @property
    def finished(self) -> bool:
        return self.evaluations >= self.total_evaluations or not self._has_more

    def ask(self) -> np.ndarray:
        """Return the genomes to evaluate next, int [N, num_layers]; the same ones until they are told."""
        if not self._asked:
            if self.finished:
                raise RuntimeError(f"the search has ended after {self.evaluations} evaluations")
            self._asked.append(self._draw())
        return self._asked[0].copy()

    def ask_ahead(self) -> np.ndarray | None:
        """Return the genomes to evaluate after all that were asked for, drawn from what was told so far; None for no more."""
        asked = sum(map(len, self._asked))
        # What the first generation tells is waited for; a search that has ended has nothing asked.
        begun = self.hypervolume and self._asked
        if not begun or len(self._asked) > self.ahead or self.evaluations + asked >= self.total_evaluations:
            return None
        self._asked.append(self._draw())
        return self._asked[-1].copy()

    @property
    def pending(self) -> np.ndarray | None:
        """The genomes that are told next; None where nothing was asked for."""
        return self._asked[0] if self._asked else None

    def tell(self, results: Sequence[Metrics]) -> None:
        """Take {"accuracy": float, ...} for each genome asked for, in that order; None where evaluation failed.

        Raises InputError when an accuracy is missing or not a number from 0 to 1; nothing has changed then.
        """
        genomes = self.pending
        if genomes is None:
            raise RuntimeError("tell: nothing has been asked for")
        if len(results) != len(genomes):
            raise InputError(f"results: expected {len(genomes)}, one a genome, got {len(results)}")
        computed = self.cost_model.names
        checked = [
            None if result is None else {**result, **self.objectives.check(result, computed)} for result in results
        ]
        hypervolume = self._learn(genomes, self.cost_model.complete(genomes, checked))
        self._has_more = len(genomes) > 0
        del self._asked[0]
        self.evaluations += len(genomes)
        self.hypervolume.append(hypervolume)


class RandomSearch(Algorithm):
    """Networks under the budget, drawn uniformly and each only once, as long as there are any.

    It has the shape of WeightedNSGA2: the first `ask` gives 2 N genomes, every later one N, N * generations in all.
    Where the bounds refuse nearly all draws, they are brought nearer step by step and are no longer uniform (see Budget).
    `metrics`: weights, upper_bounds, lower_bounds, directions and table as WeightedNSGA2 takes them.

    Raises InputError for settings out of range and for a budget that no network of the space meets.
    """

    def __init__(
        self,
        costs: CostTable,
        population_size: int = 70,
        generations: int = 120,
        max_multiply_adds: float | None = 500e6,
        min_accuracy: float | None = None,
        seed: int = 0,
        **metrics,
    ):
        check_settings(population_size, generations, max_multiply_adds, min_accuracy, seed)
        super().__init__(costs, int(generations) * int(population_size), max_multiply_adds, min_accuracy, **metrics)
        self.population_size = int(population_size)
        self.told: list[list[int]] = []
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._budget, self._archive = (
            Budget(self.cost_model, self.objectives),
            Archive(self.cost_model, self.objectives),
        )

    def _draw(self) -> np.ndarray:
        wanted = self.population_size if self.told else 2 * self.population_size
        return self._budget.sample(wanted, self._rng, known=self.told)

    def _learn(self, genomes: np.ndarray, metrics: list[dict | None]) -> float:
        self.told += genomes.tolist()
        return self._archive.add(genomes, metrics)

    def get_config(self) -> dict:
        return {
            "algorithm": "random",
            "population_size": self.population_size,
            **self.objectives.get_config(),
            "table": self.cost_model.fingerprint,
        }


def check_settings(population_size, generations, max_multiply_adds, min_accuracy, seed) -> None:
    """Raises InputError that names the key under `search`, what was expected and what came."""
    for key, value, low in (
        ("population_size", population_size, 2),
        ("generations", generations, 2),
        ("seed", seed, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise InputError(f"search.{key}: expected an integer >= {low}, got {value!r}")
    if max_multiply_adds is not None and not (is_number(max_multiply_adds) and 0 < max_multiply_adds < math.inf):
        raise InputError(f"max_multiply_adds: expected a finite number > 0, or null, got {max_multiply_adds!r}")
    if min_accuracy is not None and not (is_number(min_accuracy) and 0 <= min_accuracy < 1):
        raise InputError(f"min_accuracy: expected a number from 0 up to 1, or null, got {min_accuracy!r}")


def encode(genomes) -> list[str]:
    """Genomes [N, num_layers] as canonical strings, "4,8,2,..."."""
    return [",".join(map(str, genome)) for genome in np.asarray(genomes).tolist()]


def decode(line: str) -> tuple[int, ...]:
    """Choice indices of one canonical string."""
    return tuple(int(gene) for gene in line.split(","))


def draws_of() -> str:
    """Versions of the libraries that draw: others may draw other genomes from the same seed, so a journal belongs to them."""
    return f"numpy {'.'.join(np.__version__.split('.')[:2])}, pymoo {importlib.metadata.version('pymoo')}"
