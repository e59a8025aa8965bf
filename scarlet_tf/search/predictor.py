"""Accuracies of networks predicted from those of a few trained ones, and the best network that the prediction knows.

A ridge regression: few numbers, fitted in milliseconds, whose exact maximum within bounds an integer program finds. A dozen
trainings order the networks of a published table better than their multiply-adds do (docs/concepts/predictor.md).
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Sequence

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.objectives import CostModel, Objectives
from scarlet_tf.search.program import PathProgram
from scarlet_tf.space.equivalence import canonical

COST = "multiply_adds"
STRENGTHS = np.logspace(-1, 2, 13)
"""Ridge strengths to choose from."""
LEAST_ERROR = 0.01
"""Added to error rates, so that the logarithm of none at all is finite and that of a few images does not decide."""
_EXACT = 1e-6


@dataclasses.dataclass(frozen=True)
class Ridge:
    """A linear model with an intercept that is not penalised, at the strength with the least leave-one-out error.

    left_out: predictions of its own samples [N], each by the model without that sample, in closed form.
    """

    weights: np.ndarray
    intercept: float
    strength: float
    left_out: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, targets: np.ndarray, strengths: np.ndarray = STRENGTHS) -> Ridge:
        """The model of features [N, F] and targets [N].

        With the hat matrix H of a strength, the sample i is missed by (y_i - H y_i) / (1 - H_ii) where it is left out.
        """
        centre, mean = features.mean(axis=0), targets.mean()
        left, singular, right = np.linalg.svd(features - centre, full_matrices=False)
        shrunk = singular[:, None] ** 2 / (singular[:, None] ** 2 + strengths)  # [rank, strengths]
        fitted = left @ (shrunk * (left.T @ (targets - mean))[:, None])
        leverage = (left**2) @ shrunk + 1 / len(targets)
        missed = (targets - mean)[:, None] - fitted
        missed /= np.maximum(1 - leverage, np.finfo(float).tiny)
        best = int((missed**2).mean(axis=0).argmin())
        weights = right.T @ (singular / (singular**2 + strengths[best]) * (left.T @ (targets - mean)))
        return cls(weights, float(mean - centre @ weights), float(strengths[best]), targets - missed[:, best])

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Targets [N] of features [N, F]."""
        return features @ self.weights + self.intercept


class Predictor:
    """Ridge regression of networks' error rates, as logarithms, on what they consist of.

    Features are the choice of each layer (one-hot), the number of layers that are not skipped, the logarithm of the
    multiply-adds and, where they are given, scores such as one-shot losses. Equal networks have equal features
    (`equivalence.canonical`).

    Args:
        cost_model: of the space and the size of the images.
        networks: that were trained, choice indices [N, num_layers], N >= 3.
        accuracies: of these [N], from 0 to 1.
        scores: of these [N], if scores are known of every network that is to be predicted.

    Raises InputError for arrays of other shapes or values.
    """

    def __init__(self, cost_model: CostModel, networks, accuracies, scores=None):
        self.cost_model, self.space = cost_model, cost_model.costs.space
        self._program: PathProgram | None = None
        self._is_block = np.array([not choice.is_skip for choice in self.space.choices])
        low, high = (math.log(end) for end in cost_model.bounds[COST])
        self._log_cost = (low + high) / 2, max((high - low) / 4, 1e-9)  # about the mean and the deviation in the space
        accuracies = _checked("accuracies", accuracies, len(networks))
        if len(networks) < 3:
            raise InputError(f"networks: expected at least 3 that were trained, got {len(networks)}")
        if not ((accuracies >= 0) & (accuracies <= 1)).all():
            raise InputError(
                f"accuracies: expected numbers from 0 to 1, got {accuracies.min():g} to {accuracies.max():g}"
            )
        self._scores: tuple[float, float] | None = None
        if scores is not None:
            given = _checked("scores", scores, len(networks))
            self._scores = float(given.mean()), float(given.std()) or 1.0
        self.known = self._canonical(networks)
        self.ridge = Ridge.fit(self._features(networks, scores), _quality(accuracies))

    @property
    def left_out(self) -> np.ndarray:
        """Accuracies [N] of the trained networks, each predicted from the others."""
        return _accuracy(self.ridge.left_out)

    def predict(self, networks, scores=None) -> np.ndarray:
        """Accuracies [N] of networks [N, num_layers]; `scores` [N] where the trained networks had some.

        They are not cut off at 0 and 1, so that they can be ranked.
        """
        return _accuracy(self.ridge.predict(self._features(networks, scores)))

    def best_within(self, objectives: Objectives, excluded=(), differ: int = 1) -> tuple[int, ...] | None:
        """The network with the greatest predicted accuracy among all that keep the bounds on computed figures.

        The prediction is a sum over layers but for the logarithm of the cost, so the integer program maximises a bound on it:
        the least of the logarithm's tangents where cost helps, to which the tangent at the network found is added, else a
        chord, over an interval of costs that is divided there. It ends when no other network can be better by more than a
        millionth, in logarithms of the error rate.

        Args:
            objectives: their bounds count, as those of a search.
            excluded: networks from which it differs in at least `differ` layers, both in the form of `canonical`.

        Returns None if no network is left. Raises InputError for a model of scores, which are not known of all networks.
        """
        if self._scores is not None:
            raise InputError("best_within: expected a model without scores, which are not known of every network")
        self._program = self._program or PathProgram(self.cost_model, only_canonical=True)
        slope, scores, excluded = self._slope(), self._choice_scores(), self._canonical(excluded)
        allowed, layers = np.ones(scores.shape, bool), np.arange(len(scores))
        low, high = self.cost_model.bounds[COST]
        low, high = max(low, objectives.lower_bounds.get(COST, low)), min(high, objectives.upper_bounds.get(COST, high))
        tangents = [_tangent(slope, cost) for cost in np.geomspace(low, max(low, high), 4)]
        best, best_value, intervals = None, -math.inf, [(-math.inf, low, high)]
        while intervals:
            bound, low, high = heapq.heappop(intervals)
            within = _within_costs(objectives, low, high)
            if -bound <= best_value + _EXACT or not within:
                continue
            lines = tangents if slope > 0 else [_chord(slope, low, high)]
            found = self._program.find(scores, allowed, within, lines, excluded, differ)
            if not found:
                continue
            total, cost = scores[layers, found].sum(), self.cost_model.of_one(found)[COST]
            value, upper = total + slope * math.log(cost), total + min(rise * cost + start for rise, start in lines)
            if value > best_value:
                best, best_value = found, value
            if upper <= best_value + _EXACT:
                continue
            tangents.append(_tangent(slope, cost))
            for part in [(low, high)] if slope > 0 else [(low, cost), (cost, high)]:
                heapq.heappush(intervals, (-upper, *part))
        return best

    def propose(
        self, count: int, objectives: Objectives, known=(), differ: int = 1, candidates=None, scores=None
    ) -> list[tuple[int, ...]]:
        """Up to `count` networks to train next, the best predicted first.

        They keep the bounds on computed figures and differ in at least `differ` layers from one another, from the
        trained networks and from those `known`; fewer where there are no more.

        Args:
            candidates, scores: choice indices [M, num_layers] to propose from instead of the whole space, and their
                scores [M]: needed by a model of scores.
        """
        taken = [*self.known, *self._canonical(known)]
        found: list[tuple[int, ...]] = []
        if candidates is not None:
            return self._proposed_of(count, objectives, taken, differ, np.asarray(candidates), scores)
        while len(found) < count:
            network = self.best_within(objectives, [*taken, *found], differ)
            if network is None:
                break
            found.append(network)
        return found

    def _proposed_of(self, count, objectives, taken, differ, candidates, scores) -> list[tuple[int, ...]]:
        order = np.argsort(-self.ridge.predict(self._features(candidates, scores)), kind="stable")
        order = order[objectives.meets(self.cost_model.of(candidates[order]))]
        found: list[tuple[int, ...]] = []
        for network in canonical(candidates[order], self.space):
            if len(found) == count:
                break
            others = np.reshape([*taken, *found], (-1, len(network)))
            if ((others != network).sum(axis=1) >= differ).all():
                found.append(tuple(network.tolist()))
        return found

    # -- features: the choices one-hot, depth, log cost, score -------------------------------------------------

    def _canonical(self, networks) -> list[tuple[int, ...]]:
        if not len(networks):
            return []
        self.cost_model.of(networks)  # checks them
        return [tuple(row) for row in canonical(networks, self.space).tolist()]

    def _features(self, networks, scores) -> np.ndarray:
        mean, deviation = self._log_cost
        costs = self.cost_model.of(networks)[COST]
        networks = canonical(networks, self.space)
        one_hot = (networks[:, :, None] == np.arange(self.space.num_choices)).reshape(len(networks), -1)
        columns = [one_hot, self._is_block[networks].sum(axis=1), (np.log(costs) - mean) / deviation]
        if (scores is None) != (self._scores is None):
            raise InputError(
                f"scores: expected {'none, as at the fit' if self._scores is None else 'one of each network'}"
            )
        if self._scores is not None:
            columns.append((_checked("scores", scores, len(networks)) - self._scores[0]) / self._scores[1])
        return np.column_stack(columns).astype(float)

    def _choice_scores(self) -> np.ndarray:
        """Share of each choice in the prediction [num_layers, num_choices], its part of the depth included."""
        size = self.space.num_layers * self.space.num_choices
        scores = self.ridge.weights[:size].reshape(self.space.num_layers, self.space.num_choices)
        return scores + self.ridge.weights[size] * self._is_block

    def _slope(self) -> float:
        """Factor of the logarithm of the multiply-adds in the prediction."""
        return float(self.ridge.weights[self.space.num_layers * self.space.num_choices + 1] / self._log_cost[1])


def _quality(accuracies: np.ndarray) -> np.ndarray:
    """The greater the better: the negative logarithm of the error rate, in which a layer's share is more nearly the same."""
    return -np.log(1 - accuracies + LEAST_ERROR)


def _accuracy(quality: np.ndarray) -> np.ndarray:
    return 1 + LEAST_ERROR - np.exp(-quality)


def _tangent(slope: float, cost: float) -> tuple[float, float]:
    """(rise, start) of the line that touches slope * log(x) at `cost`."""
    return slope / cost, slope * (math.log(cost) - 1)


def _chord(slope: float, low: float, high: float) -> tuple[float, float]:
    """(rise, start) of the line that meets slope * log(x) at `low` and at `high`."""
    rise = slope * math.log(high / low) / (high - low) if high > low else 0.0
    return rise, slope * math.log(low) - rise * low


def _within_costs(objectives: Objectives, low: float, high: float) -> Objectives | None:
    """The bounds, with multiply-adds from low to high; None if these cannot be kept together."""
    upper = min(high + 0.5, objectives.upper_bounds.get(COST, math.inf))
    lower = max(low - 0.5, objectives.lower_bounds.get(COST, -math.inf))
    if lower >= upper:
        return None
    return Objectives(
        objectives.weights,
        {**objectives.upper_bounds, COST: upper},
        {**objectives.lower_bounds, COST: lower},
        {name: objectives.direction(name) for name in objectives.metrics},
    )


def _checked(name: str, values: Sequence[float], count: int) -> np.ndarray:
    found = np.asarray(values, float)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise InputError(f"{name}: expected {count} finite numbers, one of each network, got shape {list(found.shape)}")
    return found
