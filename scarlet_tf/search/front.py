"""Pareto fronts: evaluated candidates, the non-dominated among them, their hypervolume, and the models picked from them."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pymoo.indicators.hv import Hypervolume
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import bound_text
from scarlet_tf.search.objectives import CostModel, Objectives, is_number, score_of
from scarlet_tf.space.search_space import Architecture, SearchSpace

logger = logging.getLogger("scarlet_tf")
Picks = int | Mapping[str, str | Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An evaluated architecture: one-shot accuracy (0 to 1), multiply-adds of one image, trainable parameters.

    `others` holds whatever else is known of it by name, such as "latency_ms", and the score that it was compared by, if any.
    """

    architecture: Architecture
    accuracy: float
    multiply_adds: int
    params: int
    others: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, architecture: Architecture, metrics: Mapping, names: Iterable[str]) -> Candidate:
        """With those of the metrics that are in `names`, beside the three that every candidate has."""
        own = ("accuracy", "multiply_adds", "params")
        accuracy, multiply_adds, params = (metrics[name] for name in own)
        others = {name: metrics[name] for name in ("score", *names) if name in metrics and name not in own}
        return cls(architecture, accuracy, multiply_adds, params, others)

    @property
    def score(self) -> float:
        """Value that it is compared by, see score_of."""
        return score_of(self.metrics)

    @property
    def metrics(self) -> dict[str, float]:
        """All figures by name."""
        return {
            "accuracy": self.accuracy,
            "multiply_adds": self.multiply_adds,
            "params": self.params,
            **self.others,
        }

    def to_dict(self) -> dict:
        """Plain JSON types; the architecture is its canonical string."""
        return {"architecture": self.architecture.to_string(), **self.metrics}


def non_dominated(objectives: np.ndarray) -> np.ndarray:
    """Indices of the rows of objectives [N, M], all minimised, that no other row dominates; equals all stay."""
    return NonDominatedSorting().do(np.asarray(objectives, float), only_non_dominated_front=True)


def front_of(candidates: Sequence[Candidate], objectives: Objectives | None = None) -> list[Candidate]:
    """The candidates that no other one dominates in `objectives`, the published ones by default, by rising multiply-adds."""
    if not candidates:
        return []
    values = (objectives or Objectives()).values([c.metrics for c in candidates])
    front = [candidates[i] for i in non_dominated(values)]
    return sorted(front, key=lambda c: (c.multiply_adds, -c.score, -c.params, c.architecture.choices))


def by_score(metrics: Mapping[str, Any]) -> tuple[float, float]:
    """Sorts metrics: the best score first, of equals the one of fewest multiply-adds."""
    return -score_of(metrics), metrics["multiply_adds"]


def best_of(front: Sequence[Candidate]) -> Candidate:
    """The first of a front `by_score`; InputError for an empty one.

    Of everything that was evaluated within the bounds none has a better score: it is among all objectives, so what is
    not on the front scores no better than some network that is.
    """
    if not front:
        raise InputError("best: expected a network within the search's bounds, none that was evaluated is")
    return min(front, key=lambda candidate: by_score(candidate.metrics))


class HypervolumeBox:
    """Hypervolume as a share, 0..1, of a box that the space and the bounds alone fix.

    Accuracy goes from 0 to 1; a computed metric over what the space can have within the bounds on it; any other metric
    needs an upper bound and is counted from 0, or from its lower bound, to there. The ideal point is the better end of
    each, the reference point the worse one. Raises InputError for a metric without an end.
    """

    def __init__(self, cost_model: CostModel, objectives: Objectives):
        ranges = [self._range(name, cost_model, objectives) for name in objectives.names]
        worst_first = [objectives.direction(name) == "max" for name in objectives.names]
        signs = np.where(worst_first, -1.0, 1.0)
        ends = np.array(
            [(low, high) if flip else (high, low) for (low, high), flip in zip(ranges, worst_first, strict=True)]
        )
        self.reference, self.ideal = ends[:, 0] * signs, ends[:, 1] * signs

    def _range(self, name: str, cost_model: CostModel, objectives: Objectives) -> tuple[float, float]:
        if name == "accuracy":
            return 0.0, 1.0
        if name in cost_model.names:
            low, high = cost_model.bounds[name]
            return max(low, objectives.lower_bounds.get(name, low)), min(high, objectives.upper_bounds.get(name, high))
        if name not in objectives.upper_bounds:
            raise InputError(
                f"search.upper_bounds.{name}: expected a number, since hypervolume is measured up to it and no table predicts"
                f" {name}, got nothing"
            )
        return objectives.lower_bounds.get(name, 0.0), objectives.upper_bounds[name]

    def measure(self, front: np.ndarray) -> float:
        """Front of objectives [N, M], all minimised."""
        if not len(front):
            return 0.0
        span = np.where(self.reference > self.ideal, self.reference - self.ideal, 1.0)
        return float(Hypervolume(ref_point=np.ones(len(span)))((front - self.ideal) / span))


class Archive:
    """Keeps the non-dominated among all models told; failed ones, and those outside the bounds, do not count."""

    def __init__(self, cost_model: CostModel, objectives: Objectives):
        self._cost_model, self._objectives = cost_model, objectives
        self._box = HypervolumeBox(cost_model, objectives)
        self.values = objectives.values([])  # of the front, all minimised, [N, M]
        self.hypervolume = 0.0

    def add(self, genomes, results: Sequence[Mapping | None]) -> float:
        """Takes genomes [N, num_layers] with what evaluations returned, None for a failed one; returns the hypervolume."""
        if not len(results):
            return self.hypervolume
        metrics = self._cost_model.complete(np.asarray(genomes), results)
        counted = [found for found in metrics if found is not None and self._objectives.violation(found) <= 0]
        fresh = self._objectives.values(counted)
        fresh = fresh[[not self._covers(row) for row in fresh]]
        if len(fresh):
            values = np.unique(np.concatenate([self.values, fresh]), axis=0)
            self.values = values[non_dominated(values)]
            self.hypervolume = self._box.measure(self.values)
        return self.hypervolume

    def _covers(self, row: np.ndarray) -> bool:
        """True if a model of the front is as good as `row` in every objective."""
        return bool(np.any(np.all(self.values <= row, axis=1)))


def check_picks(picks: Picks) -> None:
    """InputError that names the key unless `picks` is an integer >= 1 or a mapping as `pick_models` takes it."""
    if isinstance(picks, Mapping):
        if not picks:
            raise InputError("search.picks: expected at least one name, got none")
        for name, wanted in picks.items():
            if not isinstance(name, str):
                raise InputError(f"search.picks: expected names, got {name!r}")
            if name == "best" or name.isdecimal():
                raise InputError(
                    f"search.picks.{name}: expected a name that is neither a number nor best, got {name!r}"
                )
            if isinstance(wanted, Mapping) and wanted:
                for metric, value in wanted.items():
                    if not is_number(value) or not math.isfinite(value):
                        raise InputError(f"search.picks.{name}.{metric}: expected a finite number, got {value!r}")
            elif not isinstance(wanted, str) or not wanted:
                raise InputError(
                    f"search.picks.{name}: expected bounds such as {{multiply_adds: 4M}}, or an architecture's choices,"
                    f" got {wanted!r}"
                )
    elif isinstance(picks, bool) or not isinstance(picks, int) or picks < 1:
        raise InputError(f"search.picks: expected an integer >= 1, or a mapping of names to bounds, got {picks!r}")


def check_picks_of(picks: Picks, space: SearchSpace, metrics: Sequence[str]) -> None:
    """InputError unless every named pick is of `metrics`, or an architecture of `space`."""
    for name, wanted in picks.items() if isinstance(picks, Mapping) else ():
        if isinstance(wanted, str):
            try:
                Architecture.parse(wanted, space)
            except InputError as error:
                raise InputError(f"search.picks.{name}: {error}") from None
            continue
        for metric in wanted:
            if metric not in metrics:
                raise InputError(f"search.picks.{name}.{metric}: unknown metric; expected some of {', '.join(metrics)}")


def pick_models(
    front: Sequence[Candidate], evaluated: Sequence[Candidate], objectives: Objectives, picks: Picks
) -> dict[str, Candidate]:
    """{name: model}.

    An integer k picks k models equispaced along the front, named "0", "1", ... A mapping picks a model for each name:

    * {metric: bound, ...}: of the front's models below the bounds (above, for metrics that are maximised) that of
      the best score; where accuracy is bounded, the one of the least cost.
    * choices such as "0,4,2": that architecture, if it was evaluated.

    What no model meets is left out with a warning that says how near the front comes.
    """
    check_picks(picks)
    if isinstance(picks, Mapping):
        found = {name: _pick(name, wanted, front, evaluated, objectives) for name, wanted in picks.items()}
        return {name: candidate for name, candidate in found.items() if candidate is not None}
    if len(front) < picks:
        logger.warning("search.picks: %d wanted, but the front has only %d models", picks, len(front))
    values = objectives.values([candidate.metrics for candidate in front])
    chosen = pick_equispaced(values, picks, objectives.cost_column)
    return {str(i): front[index] for i, index in enumerate(chosen)}


def _pick(name: str, wanted, front, evaluated, objectives: Objectives) -> Candidate | None:
    if isinstance(wanted, str):
        choices = wanted.replace(" ", "")
        found = next((c for c in evaluated if c.architecture.to_string() == choices), None)
        if found is None:
            logger.warning("search.picks.%s: %s was not evaluated by the search", name, choices)
        return found
    unknown = [metric for metric in wanted if front and metric not in front[0].metrics]
    if unknown:
        logger.warning("search.picks.%s: nothing was measured of %s", name, ", ".join(unknown))
        return None
    meeting = [
        c for c in front if all(objectives.better(metric, c.metrics[metric], bound) for metric, bound in wanted.items())
    ]
    if not meeting:
        reach = ", ".join(f"{metric} of {_nearest(front, metric, objectives)}" for metric in wanted)
        logger.warning("search.picks.%s: no model of the front is within its bounds; the front reaches %s", name, reach)
        return None
    cost = objectives.names[objectives.cost_column]
    if "accuracy" in wanted:
        return min(meeting, key=lambda c: c.metrics[cost])
    return max(meeting, key=lambda c: (c.score, -c.metrics[cost]))


def _nearest(front: Sequence[Candidate], metric: str, objectives: Objectives) -> str:
    best = min if objectives.direction(metric) == "min" else max
    return bound_text(metric, best(c.metrics[metric] for c in front))


def pick_equispaced(front: np.ndarray, k: int, along: int = 1) -> list[int]:
    """Indices of `k` rows of `front` [N, M], all minimised, equispaced along it.

    The front is walked in order of column `along`, the multiply-adds of (-accuracy, multiply_adds, -params); distance is
    arc length with every objective scaled to 0..1 [reading]. Both ends are picked when k > 1, and the model nearest to
    the middle when k is 1. No row comes twice; k >= N gives them all. The result is in the order of the walk.
    """
    if k < 1:
        raise InputError(f"picks: expected an integer >= 1, got {k!r}")
    front = np.asarray(front, float)
    others = [front[:, i] for i in reversed(range(front.shape[1])) if i != along]
    order = np.lexsort([*others, front[:, along]])
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
