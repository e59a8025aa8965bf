"""The two uses of costs in BetaNAS: a term of the loss, and bounds within which the most probable network is found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.config import BetaNASConfig
from scarlet_tf.search.objectives import CostModel, Objectives


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


class MostProbable:
    """Finds the network with the greatest sum of scores among those that keep bounds on computed figures.

    A network is a path through the rows of the cost table (see SumTable), one step a layer, each with its score and its share
    of every figure; that path is found exactly by HiGHS. Where nothing is bounded, it is the best choice of each layer.
    """

    def __init__(self, cost_model: CostModel):
        self.cost_model = cost_model
        self.steps = np.array(cost_model.costs.steps())  # layer, row, choice, row behind it
        self._flow = _flow(self.steps)

    def find(self, scores: np.ndarray, allowed: np.ndarray, objectives: Objectives) -> tuple[int, ...] | None:
        """Choice indices of the best network made of `allowed` choices, or None where none keeps the bounds.

        scores, allowed: [num_layers, num_choices]; scores of allowed choices are finite.
        """
        best = tuple(int(choice) for choice in np.where(allowed, scores, -np.inf).argmax(axis=1))
        if self._keeps(best, objectives):
            return best
        layers, choices = self.steps[:, 0], self.steps[:, 2]
        gains = np.where(allowed, scores, 0.0)[layers, choices]
        constraints = [self._flow, *self._bounds(objectives)]
        while True:
            found = milp(
                -gains,
                integrality=np.ones(len(gains)),
                bounds=Bounds(0, allowed[layers, choices].astype(float)),
                constraints=constraints,
                options={"mip_rel_gap": 0.0},
            )
            if found.x is None:
                return None
            taken = found.x > 0.5
            network = tuple(int(choice) for choice in choices[taken][np.argsort(layers[taken])])
            if self._keeps(network, objectives):
                return network
            # The solver's tolerance lets a bound be missed by a hair; the network is excluded and the next best sought.
            constraints.append(LinearConstraint(taken.astype(float), ub=taken.sum() - 1))

    def _keeps(self, network: Sequence[int], objectives: Objectives) -> bool:
        return bool(objectives.meets({name: np.array([v]) for name, v in self.cost_model.of_one(network).items()})[0])

    def _bounds(self, objectives: Objectives) -> list[LinearConstraint]:
        """Scaled to 1, since figures reach from milliseconds to 10^9 multiply-adds."""
        found = []
        for name in self.cost_model.names:
            table, ends = self.cost_model.parts(name)
            _, rows, choices, behind = self.steps.T
            shares = table[rows, choices] + ends[behind]
            if name in objectives.upper_bounds:
                found.append(LinearConstraint(shares / objectives.upper_bounds[name], ub=1.0))
            if name in objectives.lower_bounds and objectives.lower_bounds[name] > 0:
                found.append(LinearConstraint(shares / objectives.lower_bounds[name], lb=1.0))
        return found


def _flow(steps: np.ndarray) -> LinearConstraint:
    """One step leaves row 0, and one leaves every other row that is entered, save the last ones."""
    _, rows, _, behind = steps.T
    sources = np.unique(rows)
    matrix = (rows == sources[:, None]).astype(float) - (behind == sources[:, None])
    wanted = (sources == 0).astype(float)
    return LinearConstraint(matrix, wanted, wanted)
