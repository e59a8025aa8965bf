"""Pareto fronts: evaluated candidates, the non-dominated among them, their hypervolume, and picks along them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from pymoo.indicators.hv import Hypervolume
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.space import Architecture


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An evaluated architecture: one-shot accuracy (0 to 1), multiply-adds of one image, trainable parameters."""

    architecture: Architecture
    accuracy: float
    multiply_adds: int
    params: int

    def to_dict(self) -> dict:
        """Plain JSON types; the architecture is its canonical string."""
        return {
            "architecture": self.architecture.to_string(),
            "accuracy": self.accuracy,
            "multiply_adds": self.multiply_adds,
            "params": self.params,
        }


def objectives(candidates: Sequence[Candidate]) -> np.ndarray:
    """(-accuracy, multiply_adds, -params) of each candidate, all to be minimised, as float [N, 3]."""
    return np.array([(-c.accuracy, c.multiply_adds, -c.params) for c in candidates], float).reshape(-1, 3)


def non_dominated(objectives: np.ndarray) -> np.ndarray:
    """Indices of the rows of objectives [N, M], all minimised, that no other row dominates; equals all stay."""
    return NonDominatedSorting().do(np.asarray(objectives, float), only_non_dominated_front=True)


def front_of(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The non-dominated candidates, by rising multiply-adds."""
    if not candidates:
        return []
    front = [candidates[i] for i in non_dominated(objectives(candidates))]
    return sorted(front, key=lambda c: (c.multiply_adds, -c.accuracy, -c.params, c.architecture.choices))


def pick_equispaced(front: np.ndarray, k: int) -> list[int]:
    """Indices of `k` rows of `front` [N, 3] = (-accuracy, multiply_adds, -params), equispaced along it.

    The front is walked in order of multiply-adds; distance is arc length with every objective scaled to 0..1
    [reading]. Both ends are picked when k > 1, and the model nearest to the middle when k is 1. No row comes twice;
    k >= N gives them all. The result is in order of multiply-adds.
    """
    if k < 1:
        raise InputError(f"picks: expected an integer >= 1, got {k!r}")
    front = np.asarray(front, float).reshape(-1, 3)
    order = np.lexsort([front[:, 2], front[:, 0], front[:, 1]])
    if k >= len(front):
        return order.tolist()
    points = front[order]
    span = np.ptp(points, axis=0)
    points = points / np.where(span > 0, span, 1.0)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    position = np.concatenate([[0.0], np.cumsum(steps)])
    targets = np.linspace(0, position[-1], k) if k > 1 else [position[-1] / 2]
    picked: list[int] = []
    for i, target in enumerate(targets):
        # Between the last pick and the places that the picks still to come need.
        low, high = (picked[-1] + 1 if picked else 0), len(front) - (k - i - 1)
        picked.append(low + int(np.argmin(np.abs(position[low:high] - target))))
    return order[picked].tolist()


class HypervolumeBox:
    """Hypervolume as a share, 0..1, of a box that the space and the budget alone fix.

    Ideal point: accuracy 1, the space's least multiply-adds and most params. Reference point: accuracy 0, the budget
    (or the space's most multiply-adds where that is less), the space's least params.
    """

    def __init__(self, costs: CostTable, max_multiply_adds: float):
        (low, high), (few, many) = costs.bounds["multiply_adds"], costs.bounds["params"]
        self.ideal = np.array([-1.0, low, -many])
        self.reference = np.array([0.0, min(high, max_multiply_adds), -few])

    def measure(self, front: np.ndarray) -> float:
        """Of objectives [N, 3] = (-accuracy, multiply_adds, -params)."""
        if not len(front):
            return 0.0
        span = np.where(self.reference > self.ideal, self.reference - self.ideal, 1.0)
        return float(Hypervolume(ref_point=np.ones(3))((front - self.ideal) / span))
