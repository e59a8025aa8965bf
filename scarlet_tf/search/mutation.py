"""Mutation: how a child of crossover is changed before it becomes a candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.space import SearchSpace


@dataclasses.dataclass(frozen=True)
class MutationContext:
    """Information available to a mutation.

    `parents` is int [2, num_layers]; the child begins with the genes of row 0 and ends with those of row 1.
    `parent_metrics` holds {"accuracy", "multiply_adds", "params"} of the two; accuracy is None for a parent whose
    evaluation failed. `front` is int [M, num_layers]: the genomes of the population's first front.
    `directions` says of each objective whether it is to be small or large, "min" or "max".
    """

    space: SearchSpace
    costs: CostTable
    generation: int
    parents: np.ndarray
    parent_metrics: tuple[Mapping, Mapping]
    front: np.ndarray
    directions: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"multiply_adds": "min", "params": "max"})


class Mutation(Protocol):
    """Changes children and may learn from what became of them.

    All randomness comes from the `rng` that is passed in, whose state the search saves. A child may be refused
    (over budget, or a repeat), and `mutate` is then called again, so a mutation that learns has to match the
    genomes of `tell` with those that it returned.

    Two methods more are called where a mutation has them. `survived(population, front)` comes after each `tell`, once
    the search has gone on: the genomes [N, num_layers] of the new population and those of its feasible first front.
    `statistics()` gives plain JSON for the search's result.
    """

    def mutate(self, genome: np.ndarray, rng: np.random.Generator, context: MutationContext) -> np.ndarray:
        """Returns a genome, int [num_layers]; `genome` itself must not be written to."""
        ...

    def tell(self, genomes: np.ndarray, metrics: Sequence[Mapping | None]) -> None:
        """After each generation: its genomes, int [N, num_layers], and their metrics, None where it failed."""
        ...

    def get_config(self) -> dict:
        """Plain JSON that tells one kind and setting of mutation from another."""
        ...

    def state_dict(self) -> dict:
        """Plain JSON types: what was learnt so far."""
        ...

    def load_state_dict(self, state: Mapping) -> None:
        """Inverse of `state_dict`."""
        ...


class UniformMutation:
    """With probability `mutation_ratio`, one gene is redrawn uniformly among the other choices of its layer.

    The gene's layer is drawn uniformly too. The ratio's default is the one of [v2] for hierarchical mutation.
    """

    def __init__(self, mutation_ratio: float = 0.8):
        if not 0 <= mutation_ratio <= 1:
            raise InputError(f"mutation_ratio: expected a number from 0 to 1, got {mutation_ratio!r}")
        self.mutation_ratio = float(mutation_ratio)

    def mutate(self, genome, rng, context):
        num_choices = context.space.num_choices
        if rng.random() >= self.mutation_ratio or num_choices == 1:
            return genome
        return redraw_gene(genome, num_choices, rng)

    def tell(self, genomes, metrics):
        """Learns nothing."""

    def get_config(self) -> dict:
        return {"name": "uniform", "mutation_ratio": self.mutation_ratio}

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state):
        """There is nothing to restore."""


def redraw_gene(genome: np.ndarray, num_choices: int, rng: np.random.Generator) -> np.ndarray:
    """A copy in which one gene, of a layer drawn uniformly, is drawn uniformly among the other choices."""
    layer = rng.integers(len(genome))
    # Drawing among num_choices - 1 and stepping over the present one is uniform over the others.
    drawn = rng.integers(num_choices - 1)
    return with_gene(genome, int(layer), int(drawn + (drawn >= genome[layer])))


def with_gene(genome: np.ndarray, layer: int, choice: int) -> np.ndarray:
    """A copy of the genome with another choice in one layer."""
    child = genome.copy()
    child[layer] = choice
    return child
