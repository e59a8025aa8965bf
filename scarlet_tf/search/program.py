"""The network with the greatest sum of its choices' scores within bounds, found exactly by integer programming."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from scarlet_tf.search.objectives import CostModel, Objectives
from scarlet_tf.space.equivalence import interchangeable, skip_of


class PathProgram:
    """Finds the network with the greatest sum of scores among those that keep bounds on computed figures.

    A network is a path through the rows of the cost table (see SumTable), one step a layer, each with its score and its share
    of every figure; that path is found exactly by HiGHS. Where nothing is bounded, it is the best choice of each layer.

    Args:
        cost_model: the figures that bounds are on.
        only_canonical: of equal networks only the one that `equivalence.canonical` returns is found.
    """

    def __init__(self, cost_model: CostModel, only_canonical: bool = False):
        self.cost_model = cost_model
        self.steps = np.array(cost_model.costs.steps())  # layer, row, choice, following row
        self._flow = _flow(self.steps)
        self._order = self._skips_last() if only_canonical else []

    def find(
        self,
        scores: np.ndarray,
        allowed: np.ndarray,
        objectives: Objectives,
        lines: Sequence[tuple[float, float]] = (),
        excluded: Sequence[Sequence[int]] = (),
        differ: int = 1,
    ) -> tuple[int, ...] | None:
        """Choice indices of the best network made of `allowed` choices, or None where none keeps the bounds.

        Args:
            scores, allowed: [num_layers, num_choices]; scores of allowed choices are finite. HiGHS stops when the sum is within
                1e-6 of the greatest.
            objectives: whose bounds on computed figures are kept.
            lines: [(rise, start), ...]; the least of rise * multiply-adds + start is added to the sum of the scores.
            excluded: networks from which the one that is found differs in at least `differ` layers.
        """
        best = tuple(int(choice) for choice in np.where(allowed, scores, -np.inf).argmax(axis=1))
        if not (len(lines) or len(excluded) or self._order) and self._keeps(best, objectives):
            return best
        layers, choices = self.steps[:, 0], self.steps[:, 2]
        gains = np.append(np.where(allowed, scores, 0.0)[layers, choices], 1.0)  # the last one: what the lines add
        constraints = [self._flow, *self._order, *self._bounds(objectives)]
        if len(excluded):
            same = np.asarray(excluded)[:, layers] == choices
            constraints.append(_constraint(same, ub=scores.shape[0] - differ))
        if len(lines):
            rises, starts = np.transpose(lines)
            constraints.append(_constraint(-rises[:, None] * self._shares("multiply_adds"), ub=starts, last=1.0))
        free = np.inf if len(lines) else 0.0
        limits = Bounds(np.append(np.zeros(len(layers)), -free), np.append(allowed[layers, choices], free))
        while True:
            found = milp(
                -gains,
                integrality=np.append(np.ones(len(layers)), 0),
                bounds=limits,
                constraints=constraints,
                options={"mip_rel_gap": 0.0},
            )
            if found.x is None:
                return None
            taken = found.x[:-1] > 0.5
            network = tuple(int(choice) for choice in choices[taken][np.argsort(layers[taken])])
            if self._keeps(network, objectives):
                return network
            # The solver's tolerance lets a bound be missed by a hair; the network is excluded and the next best sought.
            constraints.append(_constraint(taken, ub=taken.sum() - 1))

    def _keeps(self, network: Sequence[int], objectives: Objectives) -> bool:
        return bool(objectives.meets({name: np.array([v]) for name, v in self.cost_model.of_one(network).items()})[0])

    def _shares(self, name: str) -> np.ndarray:
        """Share of each step in a figure, the end's part with the last step's."""
        table, ends = self.cost_model.parts(name)
        _, rows, choices, following = self.steps.T
        return table[rows, choices] + ends[following]

    def _bounds(self, objectives: Objectives) -> list[LinearConstraint]:
        """Scaled to 1, since figures reach from milliseconds to 10^9 multiply-adds."""
        found = []
        for name in self.cost_model.names:
            if name in objectives.upper_bounds:
                found.append(_constraint(self._shares(name) / objectives.upper_bounds[name], ub=1.0))
            if name in objectives.lower_bounds and objectives.lower_bounds[name] > 0:
                found.append(_constraint(self._shares(name) / objectives.lower_bounds[name], lb=1.0))
        return found

    def _skips_last(self) -> list[LinearConstraint]:
        """No skip in a layer that may trade choices with the next one, unless that is skipped, too."""
        space = self.cost_model.costs.space
        layers, _, choices, _ = self.steps.T
        skips = choices == skip_of(space)
        pairs = [((layers == i) & skips) | ((layers == i + 1) & ~skips) for i in interchangeable(space)]
        return [_constraint(np.array(pairs), ub=1)] if pairs else []


def _flow(steps: np.ndarray) -> LinearConstraint:
    """One step leaves row 0, and one leaves every other row that is entered, save the last ones."""
    _, rows, _, following = steps.T
    sources = np.unique(rows)
    matrix = (rows == sources[:, None]).astype(float) - (following == sources[:, None])
    wanted = (sources == 0).astype(float)
    return _constraint(matrix, wanted, wanted)


def _constraint(steps, lb=-np.inf, ub=np.inf, last: float = 0.0) -> LinearConstraint:
    """Bounds on sums over the steps taken, with coefficients [..., steps], and on `last` times what the lines add."""
    steps = np.atleast_2d(np.asarray(steps, float))
    return LinearConstraint(np.column_stack([steps, np.full(len(steps), last)]), lb, ub)
