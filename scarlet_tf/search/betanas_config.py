"""BetaNASConfig: how importances are trained and choices dropped. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import Literal

from scarlet_tf.settings import BelowOne, Count, NonNegative, Positive, Text, validated


@validated("search.betanas")
@dataclasses.dataclass(frozen=True)
class BetaNASConfig:
    """BetaNAS: balanced training of the weights, training of the importances alpha, and selective drop.

    Adam and its learning rate, uniform sampling, the joint loss and equation 4 are published; steps per phase, the cost's
    weight and the threshold are not, so all other defaults are readings.

    Args:
        warmup: share of all steps in which weights alone are trained.
        weight_steps, importance_steps: steps of the two phases, which alternate behind the warm-up.
        sampling: how the phase of the weights draws a layer's choice: "balanced", uniformly among those that remain, or
            "importances", with the probabilities softmax(alpha), as gradient-driven methods do.
        learning_rate: Adam's, for alpha.
        cost: the figure in the joint loss: multiply_adds, params, or one of search.table, such as latency_ms.
        cost_weight: beta; the loss is cross-entropy + beta * (mean cost under the probabilities) / cost_reference.
        cost_reference: cost of a reference network; null: the space's mean, which the mean cost is at the start.
        drop: whether choices are dropped.
        drop_margin: a choice is dropped whose alpha is below the mean of its layer's remaining ones by more than this.
        drop_below: th_alpha: a choice is dropped whose alpha is below this; null: only the margin counts.
        drop_checks: how often that is looked at, at equal distances behind the warm-up.
        drops_per_check: the most that a layer loses at once, the least important first. One choice always remains, and so do
            enough of them for a network within the search's bounds.
    """

    warmup: BelowOne = 0.25
    weight_steps: Count = 1
    importance_steps: Count = 1
    sampling: Literal["balanced", "importances"] = "balanced"
    learning_rate: Positive = 1e-3
    cost: Text = "multiply_adds"
    cost_weight: NonNegative = 0.02
    cost_reference: Positive | None = None
    drop: bool = True
    drop_margin: NonNegative = 0.2
    drop_below: float | None = None
    drop_checks: Count = 20
    drops_per_check: Count = 1
