"""Importances: alpha of every choice of every layer, how and in which steps they are trained, which choices are dropped.

Below them the cost of a network as a term of the loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.config import BetaNASConfig
from scarlet_tf.search.objectives import CostModel

# Adam's, as Keras has them.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class Importances:
    """alpha [num_layers, num_choices], equal at the start, with Adam's moments and the choices that were dropped.

    `remaining` bool [num_layers, num_choices]; `dropped_at`: the step after which a choice was dropped, -1 if it was not;
    `trained`: in how many weight steps a choice was used. All on the host and in float64, a function of what `update`
    and `drop` were given, so that several workers hold the same and a checkpoint gives back every bit.
    """

    def __init__(self, num_layers: int, num_choices: int, config: BetaNASConfig):
        shape = (num_layers, num_choices)
        self.config = config
        self.alpha, self._mean, self._variance = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.steps = 0
        self.dropped_at = np.full(shape, -1)
        self.trained = np.zeros(shape, np.int64)

    @property
    def remaining(self) -> np.ndarray:
        return self.dropped_at < 0

    @property
    def probabilities(self) -> np.ndarray:
        """softmax(alpha) over the remaining choices of each layer; 0 for those that were dropped."""
        return softmax(self.alpha, self.remaining)

    def update(self, gates: np.ndarray, cost_gradient: np.ndarray | float = 0.0) -> None:
        """One step of Adam.

        gates: dO/dg of equation 4 [num_layers, num_choices]; cost_gradient: derivative of the joint loss' other term by
        the probabilities, which reaches alpha in the same way.
        """
        gradient = through_softmax(self.probabilities, np.asarray(gates, float) + cost_gradient)
        self.steps += 1
        here = self.remaining  # what was dropped stays as it was
        self._mean[here] = (BETA_1 * self._mean + (1 - BETA_1) * gradient)[here]
        self._variance[here] = (BETA_2 * self._variance + (1 - BETA_2) * gradient**2)[here]
        rate = self.config.learning_rate * np.sqrt(1 - BETA_2**self.steps) / (1 - BETA_1**self.steps)
        self.alpha[here] -= (rate * self._mean / (np.sqrt(self._variance) + EPSILON))[here]

    def drop(self, step: int, allowed: Callable[[np.ndarray], bool] = lambda remaining: True) -> list[tuple[int, int]]:
        """Drops unimportant choices for good and returns them as (layer, choice).

        `allowed(remaining)` says whether a set of choices may be all that remain; a drop that leads to another one is
        left out. At least one choice of a layer stays.
        """
        dropped = []
        for layer in range(len(self.alpha)):
            for choice in self._unimportant(layer)[: self.config.drops_per_check]:
                remaining = self.remaining
                remaining[layer, choice] = False
                if remaining[layer].any() and allowed(remaining):
                    self.dropped_at[layer, choice] = step
                    dropped.append((layer, int(choice)))
        return dropped

    def _unimportant(self, layer: int) -> np.ndarray:
        """Choices of a layer below the threshold, the least important first."""
        alpha, here = self.alpha[layer], self.remaining[layer]
        low = alpha < alpha[here].mean() - self.config.drop_margin
        if self.config.drop_below is not None:
            low |= alpha < self.config.drop_below
        found = np.flatnonzero(low & here)
        return found[np.argsort(alpha[found], kind="stable")]

    def get_state(self) -> dict:
        """Plain JSON, exact."""
        names = ("alpha", "_mean", "_variance", "dropped_at", "trained")
        return {"steps": self.steps, **{name.strip("_"): getattr(self, name).tolist() for name in names}}

    def set_state(self, state: Mapping) -> None:
        """Takes back what `get_state` gave."""
        self.steps = int(state["steps"])
        self.alpha, self._mean, self._variance = (np.array(state[name]) for name in ("alpha", "mean", "variance"))
        self.dropped_at, self.trained = (np.array(state[name], np.int64) for name in ("dropped_at", "trained"))


def softmax(alpha: np.ndarray, remaining: np.ndarray) -> np.ndarray:
    """Over the remaining choices of each layer [num_layers, num_choices]; 0 elsewhere."""
    shifted = np.where(remaining, alpha, -np.inf)
    powers = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def through_softmax(probabilities: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """dO/dalpha_m = sum_j dO/dg_j p_j (delta_jm - p_m), equation 4, row by row; 0 where a probability is."""
    mean = (probabilities * gradient).sum(axis=1, keepdims=True)
    return probabilities * (gradient - mean)


@dataclasses.dataclass(frozen=True)
class Phases:
    """The order of a training's steps: a warm-up of weight steps, then weight and importance steps in turn.

    Everything is a function of the step's number, so a resumed training continues as it would have.
    """

    total_steps: int
    config: BetaNASConfig

    @property
    def warmup_steps(self) -> int:
        return round(self.config.warmup * self.total_steps)

    def is_importance(self, step: int) -> bool:
        """True if `step`, counted from 0, trains the importances."""
        after, cycle = step - self.warmup_steps, self.config.weight_steps + self.config.importance_steps
        return after >= 0 and after % cycle >= self.config.weight_steps

    def name(self, step: int) -> str:
        """Name of the phase of `step`, counted from 0."""
        return "importance" if self.is_importance(step) else "weight"

    def importance_steps(self, step: int) -> int:
        """Number of the first `step` steps that train the importances."""
        cycle = self.config.weight_steps + self.config.importance_steps
        cycles, rest = divmod(max(0, step - self.warmup_steps), cycle)
        return cycles * self.config.importance_steps + max(0, rest - self.config.weight_steps)

    def weight_steps(self, step: int) -> int:
        """Number of the first `step` steps that train weights."""
        return step - self.importance_steps(step)

    def is_check(self, step: int) -> bool:
        """True if choices may be dropped after `step`: `drop_checks` times, at equal distances, the last step among them."""
        after, steps = step - self.warmup_steps, self.total_steps - self.warmup_steps
        checks = self.config.drop_checks
        return after >= 0 and (after + 1) * checks // steps > after * checks // steps


class JointCost:
    """The cost in the loss, beta * (mean cost under the probabilities) / (cost of a reference network).

    The mean is of one figure over networks whose layers draw their choices with given probabilities.

    The paper's cost is sum_l sum_m p_lm cost_lm. Here what a choice costs depends on the channels that skips in front of it
    left, so this is the exact mean over networks, which is the same sum where costs do not depend on one another.
    Raises InputError for a figure that neither costs nor the table know.
    """

    def __init__(self, cost_model: CostModel, config: BetaNASConfig):
        if config.cost not in cost_model.names:
            raise InputError(
                f"search.betanas.cost: expected one of {', '.join(cost_model.names)}, or a search.table that has"
                f" {config.cost}, got {config.cost!r}"
            )
        self.cost_model, self.config = cost_model, config
        space = cost_model.costs.space
        equal = np.full((space.num_layers, space.num_choices), 1 / space.num_choices)
        self.reference = config.cost_reference or self.mean(equal)

    def mean(self, probabilities: np.ndarray) -> float:
        """In the figure's own unit."""
        return self.cost_model.expected(self.config.cost, probabilities)[0]

    def gradient(self, probabilities: np.ndarray) -> np.ndarray:
        """Derivatives of the loss' term by the probabilities [num_layers, num_choices]."""
        _, gradient = self.cost_model.expected(self.config.cost, probabilities)
        return self.config.cost_weight / self.reference * gradient
