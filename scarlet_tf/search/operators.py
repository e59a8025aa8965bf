"""Operators that a hierarchical mutation draws from: random, roulette wheel and prior regulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.search.mutation import MutationContext, redraw_gene, with_gene

COUNTED = ("multiply_adds", "params")


class Operator:
    """One way to change a genome. A subclass needs `mutate` alone; one that learns has the other methods too.

    The methods are those of Mutation, under the same terms: draw from `rng` only, leave `genome` as it is, keep in
    `state_dict` whatever the next `mutate` or `tell` depends on.
    """

    def mutate(self, genome: np.ndarray, rng: np.random.Generator, context: MutationContext) -> np.ndarray:
        """Returns a genome, int [num_layers]."""
        raise NotImplementedError

    def tell(self, genomes: np.ndarray, metrics: Sequence[Mapping | None]) -> None:
        """Learns nothing."""

    def get_config(self) -> dict:
        """Plain JSON that tells one kind and setting of operator from another."""
        return {"name": type(self).__name__}

    def state_dict(self) -> dict:
        """Plain JSON types: what was learnt so far."""
        return {}

    def load_state_dict(self, state: Mapping) -> None:
        """There is nothing to restore."""


class RandomMutation(Operator):
    """One gene, of a layer drawn uniformly, is drawn uniformly among the other choices [reading]."""

    def mutate(self, genome, rng, context):
        return redraw_gene(genome, context.space.num_choices, rng)


class RouletteMutation(Operator):
    """One gene is drawn with probabilities that follow an objective that can be counted [reading].

    Layer and objective are drawn uniformly. Each choice of the layer gives a variant of the genome, whose costs are
    those of the whole network. Its probability is proportional to 1 / multiply-adds, or to params, which are
    maximised; to 1 / params where they are not. What is no objective of the search is not drawn. The present gene is
    one of the choices.

    objectives: those drawn from, some of "multiply_adds" and "params".
    """

    def __init__(self, objectives: Sequence[str] = COUNTED):
        if not objectives or not set(objectives) <= set(COUNTED):
            raise InputError(f"objectives: expected some of {', '.join(COUNTED)}, got {list(objectives)}")
        self.objectives = tuple(objectives)

    def mutate(self, genome, rng, context):
        wanted = [name for name in self.objectives if name in context.directions] or self.objectives
        objective = wanted[rng.integers(len(wanted))]
        layer = rng.integers(len(genome))
        return with_gene(genome, layer, draw(self.probabilities(genome, layer, objective, context), rng))

    def probabilities(self, genome, layer: int, objective: str, context: MutationContext) -> np.ndarray:
        """Probability of each choice of `layer`, [num_choices]."""
        choices = np.arange(context.space.num_choices)
        variants = np.repeat(genome[None], len(choices), axis=0)
        variants[:, layer] = choices
        multiply_adds, params = context.costs.count(variants)
        costs = multiply_adds if objective == "multiply_adds" else params
        fitness = costs if context.directions.get(objective) == "max" else 1 / costs
        return fitness / fitness.sum()

    def get_config(self):
        return {**super().get_config(), "objectives": list(self.objectives)}


class PriorRegulator(Operator):
    """One gene, of a layer drawn uniformly, is drawn as often as each choice occurs there in the first front [reading].

    The present gene is one of the choices. While the front is empty, because nothing was evaluated that meets the
    constraints, all choices are equally likely.
    """

    def mutate(self, genome, rng, context):
        layer = rng.integers(len(genome))
        return with_gene(genome, layer, draw(self.probabilities(layer, context), rng))

    def probabilities(self, layer: int, context: MutationContext) -> np.ndarray:
        """Probability of each choice of `layer`, [num_choices]."""
        num_choices = context.space.num_choices
        counts = np.bincount(context.front[:, layer], minlength=num_choices)
        return counts / counts.sum() if counts.any() else np.full(num_choices, 1 / num_choices)


def draw(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """An index with the given probabilities [M], which are scaled to a sum of 1; one of probability 0 never comes."""
    cumulative = np.cumsum(probabilities)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
