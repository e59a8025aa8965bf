"""BetaNASConfig: how importances are trained and choices dropped. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from scarlet_tf.errors import InputError
from scarlet_tf.search.checks import is_number
from scarlet_tf.training.settings import check_names, check_ranges


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

    warmup: float = 0.25
    weight_steps: int = 1
    importance_steps: int = 1
    sampling: Literal["balanced", "importances"] = "balanced"
    learning_rate: float = 1e-3
    cost: str = "multiply_adds"
    cost_weight: float = 0.02
    cost_reference: float | None = None
    drop: bool = True
    drop_margin: float = 0.2
    drop_below: float | None = None
    drop_checks: int = 20
    drops_per_check: int = 1

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    def __post_init__(self):
        key = "search.betanas"
        check_ranges(key, self, at_least_1=("weight_steps", "importance_steps", "drop_checks", "drops_per_check"))
        check_ranges(key, self, below_1=("warmup",), positive=("learning_rate",))
        check_ranges(key, self, at_least_0=("cost_weight", "drop_margin"))
        check_names(key, self)
        if not isinstance(self.drop, bool):
            raise InputError(f"{key}.drop: expected true or false, got {self.drop!r}")
        if not isinstance(self.cost, str) or not self.cost:
            raise InputError(f"{key}.cost: expected the name of a figure, got {self.cost!r}")
        if self.cost_reference is not None and not (is_number(self.cost_reference) and self.cost_reference > 0):
            raise InputError(f"{key}.cost_reference: expected a number > 0 or null, got {self.cost_reference!r}")
        if self.drop_below is not None and not is_number(self.drop_below):
            raise InputError(f"{key}.drop_below: expected a number or null, got {self.drop_below!r}")
