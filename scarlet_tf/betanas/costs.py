"""The cost of a network as a term of BetaNAS' loss."""

from __future__ import annotations

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.config import BetaNASConfig
from scarlet_tf.search.objectives import CostModel


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
