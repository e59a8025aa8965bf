"""Selection by violation, then rank, then weighted crowding: who survives a generation and who mates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.operators.survival.rank_and_crowding.metrics import FunctionalDiversity

_UNRANKED = 2**31 - 1


class WeightedSurvival:
    """NSGA-II's survival under one constraint, its crowding distance with `weights` [M]."""

    def __init__(self, weights: Sequence[float]):
        self._weights = weights
        crowding = FunctionalDiversity(self._crowding, filter_out_duplicates=False)
        self._survival = RankAndCrowding(crowding_func=crowding)
        # Survival reads from it only that there is a constraint.
        self._problem = Problem(n_var=1, n_obj=len(weights), n_ieq_constr=1)

    def keep(self, objectives, violation, count: int, rng) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Indices of the best `count` of objectives [N, M] and violation [N], with their ranks and crowding distances.

        Those that violate the constraint come after all others, by violation, and are not ranked.
        """
        individuals = Population.new("F", objectives, "G", violation[:, None])
        individuals.set("rank", np.full(len(objectives), _UNRANKED), "crowding", np.zeros(len(objectives)))
        kept = self._survival.do(self._problem, individuals, n_survive=count, random_state=rng, return_indices=True)
        ranked = individuals[kept]
        return kept, ranked.get("rank").astype(np.int64), ranked.get("crowding").astype(float)

    def _crowding(self, objectives, **_):
        return weighted_crowding(objectives, self._weights)


def weighted_crowding(objectives: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """D(j) = sum_i w_i (f_i(j+1) - f_i(j-1)) / (f_i_max - f_i_min) for objectives [N, M], as [N].

    The ends of an objective's range are infinite. An objective that does not vary, or has weight 0, adds nothing.
    With equal weights 1/M this is the crowding distance as pymoo defines it.
    """
    distance = np.zeros(len(objectives))
    for values, weight in zip(np.asarray(objectives, float).T, weights, strict=True):
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        span = ordered[-1] - ordered[0]
        if span == 0 or weight == 0:
            continue
        gaps = np.full(len(ordered), np.inf)
        gaps[1:-1] = weight * (ordered[2:] - ordered[:-2]) / span
        distance[order] += gaps
    return distance


def tournament(violation, rank, crowding, count: int, rng) -> np.ndarray:
    """`count` winners [count] of binary tournaments among N individuals: by violation, then rank, then crowding."""
    first, second = rng.integers(len(rank), size=(2, count))
    order = np.lexsort([-crowding, rank, violation])
    keys = np.column_stack([violation, rank, -crowding])[order]
    changes = np.concatenate([[0], np.cumsum(np.any(keys[1:] != keys[:-1], axis=1))])
    place = np.empty(len(order), np.int64)
    place[order] = changes
    # Equals keep the contender that was drawn first, which is random already.
    return np.where(place[second] < place[first], second, first)
