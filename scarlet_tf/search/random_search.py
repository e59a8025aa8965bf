"""RandomSearch: the baseline, uniform draws under the budget."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scarlet_tf.cost import CostTable
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.checks import check_settings
from scarlet_tf.search.recorded import RecordedSearch


class RandomSearch(RecordedSearch):
    """Networks under the budget, drawn uniformly and each only once, as long as there are any.

    It has the shape of WeightedNSGA2: the first `ask` gives 2 N genomes, every later one N, N * generations in all.
    Where the bounds refuse nearly all draws, they are brought nearer step by step and are no longer uniform (see Budget).
    `metrics`: weights, limits, floors, directions and table as WeightedNSGA2 takes them.

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
        super().__init__(costs, max_multiply_adds, min_accuracy, **metrics)
        self.population_size, self.generations = int(population_size), int(generations)
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self._budget = Budget(self.figures, self.goals)

    @property
    def total_evaluations(self) -> int:
        return self.generations * self.population_size

    def _draw(self) -> np.ndarray:
        wanted = self.population_size if self.evaluations else 2 * self.population_size
        return self._budget.sample(wanted, self.rng, known=self.told)

    def _learn(self, genomes, results):
        """Learns nothing."""

    def _replay(self, genomes, results):
        """The generator's state is saved; the genomes are known."""

    def get_config(self) -> dict:
        return {
            "algorithm": "random",
            "population_size": self.population_size,
            **self.goals.get_config(),
            "table": self.figures.fingerprint,
        }

    def state_dict(self) -> dict:
        return {**super().state_dict(), "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: Mapping) -> None:
        super().load_state_dict(state)
        self.rng.bit_generator.state = state["rng"]
