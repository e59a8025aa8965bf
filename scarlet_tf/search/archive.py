"""Archive: the front of all that a search has been told, and its hypervolume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scarlet_tf.cost import CostTable
from scarlet_tf.search.front import HypervolumeBox, non_dominated


class Archive:
    """Keeps the non-dominated among all models told under a budget that they meet.

    Failed ones, and where there is a floor `min_accuracy` those that do not exceed it, do not count.
    """

    def __init__(self, costs: CostTable, max_multiply_adds: float, min_accuracy: float | None = None):
        self._costs = costs
        self._floor = -np.inf if min_accuracy is None else min_accuracy
        self._box = HypervolumeBox(costs, max_multiply_adds)
        self.objectives = np.zeros((0, 3))  # (-accuracy, multiply_adds, -params) of the front
        self.hypervolume = 0.0

    def add(self, genomes, accuracies: Sequence[float | None]) -> float:
        """Takes genomes [N, num_layers] with their accuracies, None for a failed one; returns the hypervolume, 0..1."""
        counted = [i for i, accuracy in enumerate(accuracies) if accuracy is not None and accuracy > self._floor]
        if not counted:
            return self.hypervolume
        multiply_adds, params = self._costs.count(np.asarray(genomes)[counted])
        fresh = np.column_stack([[-accuracies[i] for i in counted], multiply_adds, -params]).astype(float)
        fresh = fresh[[not self._covers(row) for row in fresh]]
        if len(fresh):
            objectives = np.unique(np.concatenate([self.objectives, fresh]), axis=0)
            self.objectives = objectives[non_dominated(objectives)]
            self.hypervolume = self._box.measure(self.objectives)
        return self.hypervolume

    def _covers(self, row: np.ndarray) -> bool:
        """Whether a model of the front is as good as `row` in every objective."""
        return bool(np.any(np.all(self.objectives <= row, axis=1)))
