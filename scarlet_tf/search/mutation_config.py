"""MutationConfig: which operators change children, how often, and how the controller learns. Imports no framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

from scarlet_tf.errors import InputError
from scarlet_tf.search.mutation import (
    HierarchicalMutation,
    Mutation,
    PriorRegulator,
    RandomMutation,
    RouletteMutation,
    UniformMutation,
)
from scarlet_tf.settings import BelowOne, Between, Count, Lax, Positive, Share, validated
from scarlet_tf.space import SearchSpace


@validated("search.mutation.ppo")
@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """The controller and its training; no values are published [readings].

    Args:
        units: of the LSTM.
        learning_rate, clip: of Adam and of the clipped objective.
        epochs: steps of Adam over one generation's children of the controller.
        genes: genes of a child that the controller draws, in layers drawn uniformly; null: all of them.
        baseline_decay: of the moving average of rewards, per generation.
    """

    units: Count = 32
    learning_rate: Positive = 1e-3
    clip: Between = 0.2
    epochs: Count = 4
    genes: Count | None = 2
    baseline_decay: BelowOne = 0.9


@validated("search.mutation")
@dataclasses.dataclass(frozen=True)
class MutationConfig:
    """Mutation of crossover's children; the probabilities are the published ones [v2].

    Args:
        kind: "hierarchical", or "uniform", which redraws one gene and needs the ratio alone.
        ratio: probability that a child mutates.
        random, reinforced, prior: shares of the three kinds of mutation, p_rm, p_re and p_pr.
        controller, roulette: shares of the two kinds of reinforced mutation, p_M and p_K-M.
        ppo: the controller's settings.

    A share of 0 switches a part off; what is left of a group is scaled to a sum of 1.
    """

    kind: Literal["hierarchical", "uniform"] = "hierarchical"
    ratio: Share = 0.8
    random: Share = 0.2
    reinforced: Share = 0.65
    prior: Share = 0.15
    controller: Share = 0.7
    roulette: Share = 0.3
    ppo: Annotated[PPOConfig, Lax()] = dataclasses.field(default_factory=PPOConfig)

    def __post_init__(self):
        if self.kind == "hierarchical" and self.ratio > 0:
            self._check_groups()

    def probabilities(self) -> dict[str, float]:
        """Probability of each operator that is switched on, given that a child mutates; they add up to 1."""
        kinds = _scaled({"random": self.random, "reinforced": self.reinforced, "prior": self.prior})
        reinforced = kinds.pop("reinforced", 0.0)
        inner = _scaled({"controller": self.controller, "roulette": self.roulette}) if reinforced else {}
        return kinds | {name: reinforced * share for name, share in inner.items()}

    def build(self, space: SearchSpace, seed: int) -> Mutation:
        """The mutation for searches of `space`; `seed` is that of the controller's first weights."""
        if self.kind == "uniform":
            return UniformMutation(self.ratio)
        operators = {
            name: (probability, self._operator(name, space, seed)) for name, probability in self.probabilities().items()
        }
        return HierarchicalMutation(operators, self.ratio)

    def _operator(self, name: str, space: SearchSpace, seed: int):
        if name == "controller":
            from scarlet_tf.search.controller import ControllerMutation  # reads this file's PPOConfig

            return ControllerMutation(space, self.ppo, seed)
        return {"random": RandomMutation, "roulette": RouletteMutation, "prior": PriorRegulator}[name]()

    def _check_groups(self) -> None:
        if not (self.random or self.reinforced or self.prior):
            raise InputError("search.mutation: expected random, reinforced or prior above 0, got 0 for each")
        if self.reinforced and not (self.controller or self.roulette):
            raise InputError(
                "search.mutation: expected controller or roulette above 0, got 0 for both; reinforced: 0 does without"
            )


def _scaled(shares: Mapping[str, float]) -> dict[str, float]:
    """Probabilities above 0, scaled to a sum of 1."""
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items() if share > 0}
