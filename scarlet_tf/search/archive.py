"""Archive: the front of all that a search has been told, and its hypervolume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_tf.search.front import HypervolumeBox, non_dominated
from scarlet_tf.search.objectives import Figures, Objectives


class Archive:
    """Keeps the non-dominated among all models told; failed ones, and those outside the bounds, do not count."""

    def __init__(self, figures: Figures, goals: Objectives):
        self._figures, self._goals = figures, goals
        self._box = HypervolumeBox(figures, goals)
        self.objectives = goals.values([])  # of the front, all minimised, [N, M]
        self.hypervolume = 0.0

    def add(self, genomes, results: Sequence[Mapping | None]) -> float:
        """Takes genomes [N, num_layers] with what evaluations answered, None for a failed one; returns the hypervolume."""
        if not len(results):
            return self.hypervolume
        metrics = self._figures.complete(np.asarray(genomes), results)
        counted = [found for found in metrics if found is not None and self._goals.violation(found) <= 0]
        fresh = self._goals.values(counted)
        fresh = fresh[[not self._covers(row) for row in fresh]]
        if len(fresh):
            objectives = np.unique(np.concatenate([self.objectives, fresh]), axis=0)
            self.objectives = objectives[non_dominated(objectives)]
            self.hypervolume = self._box.measure(self.objectives)
        return self.hypervolume

    def _covers(self, row: np.ndarray) -> bool:
        """True if a model of the front is as good as `row` in every objective."""
        return bool(np.any(np.all(self.objectives <= row, axis=1)))
