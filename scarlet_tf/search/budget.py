"""Genomes under a budget of multiply-adds: drawn at random, bred, and made cheaper where the budget is tight."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError

# Uniform draws tried for each individual that is wanted, before draws over budget are made cheaper step by step.
DRAWS_PER_INDIVIDUAL = 100
# Rounds of one draw for each individual still wanted, made cheaper until it meets the budget.
REPAIR_ROUNDS = 20
# Rounds of mating in which children over budget are thrown away; in as many more they are made cheaper instead.
MATING_ROUNDS = 10


class Budget:
    """multiply_adds < `max_multiply_adds` for genomes of one space.

    Raises InputError for a budget that no network of the space meets.
    """

    def __init__(self, costs: CostTable, max_multiply_adds: float):
        self.costs, self.max_multiply_adds = costs, max_multiply_adds
        if costs.bounds["multiply_adds"][0] >= max_multiply_adds:
            raise InputError(
                f"search.max_multiply_adds: no network of the space costs less than {max_multiply_adds / 1e6:g} M; "
                f"{self._reach()}"
            )

    def met_by(self, genomes) -> np.ndarray:
        """Whether each of genomes [N, num_layers] meets the budget, bool [N]."""
        return self.costs.count(genomes)[0] < self.max_multiply_adds

    def sample(self, wanted: int, rng, known=()) -> np.ndarray:
        """`wanted` genomes under budget, [wanted, num_layers], distinct and not in `known` where so many can be found.

        Uniform draws that meet the budget come first. When a tight budget refuses nearly all of them, random draws
        are made cheaper step by step until they meet it: no longer uniform, but bounded and spread over layers.
        """
        found = Distinct(wanted, known)
        for _ in range(DRAWS_PER_INDIVIDUAL):
            draws = self._draw(wanted, rng)
            found.extend(draws[self.met_by(draws)])
            if found.full:
                return found.take()
        for _ in range(REPAIR_ROUNDS):
            missing = found.missing
            found.extend(self._cheapened(self._draw(missing, rng), rng))
            # A whole round of nothing new: the budget leaves hardly more networks than were found.
            if found.full or (found.any and found.missing == missing):
                break
        if not found.any:
            raise InputError(
                f"search.max_multiply_adds: no network below {self.max_multiply_adds / 1e6:g} M multiply-adds was found "
                f"in {DRAWS_PER_INDIVIDUAL * wanted} random draws and {REPAIR_ROUNDS * wanted} draws made "
                f"cheaper; {self._reach()}"
            )
        return found.take()

    def breed(self, mate: Callable[[int], np.ndarray], wanted: int, population: np.ndarray, rng) -> np.ndarray:
        """`wanted` children of `mate(count)`, all under budget, [wanted, num_layers].

        They differ from one another and from `population` [N, num_layers] as far as the rounds of mating get; members
        of the population, which meet the budget, fill what is missing.
        """
        found = Distinct(wanted, known=population)
        for attempt in range(2 * MATING_ROUNDS):
            missing = found.missing
            children = mate(missing)
            feasible = self.met_by(children)
            found.extend(children[feasible])
            if attempt >= MATING_ROUNDS:
                found.extend(self._cheapened(children[~feasible], rng))
            if found.full or (attempt >= MATING_ROUNDS and found.missing == missing):
                break
        return found.take(fallback=population)

    def _draw(self, count: int, rng) -> np.ndarray:
        space = self.costs.space
        return rng.integers(space.num_choices, size=(count, space.num_layers))

    def _cheapened(self, genomes, rng) -> list[np.ndarray]:
        cheaper = [self._cheapen(genome, rng) for genome in genomes]
        return [genome for genome in cheaper if genome is not None]

    def _cheapen(self, genome, rng) -> np.ndarray | None:
        """Redraws genes at random among the cheaper choices until the budget is met; None where none is left."""
        genome = genome.copy()
        num_layers, num_choices = self.costs.space.num_layers, self.costs.space.num_choices
        # Every step makes the network cheaper, so the loop ends; the bound is there against surprises.
        for _ in range(num_layers * num_choices):
            cost, _ = self.costs.count_one(genome.tolist())
            if cost < self.max_multiply_adds:
                return genome
            for layer in rng.permutation(num_layers):
                variants = np.repeat(genome[None], num_choices, axis=0)
                variants[:, layer] = np.arange(num_choices)
                cheaper = np.flatnonzero(self.costs.count(variants)[0] < cost)
                if len(cheaper):
                    genome[layer] = rng.choice(cheaper)
                    break
            else:
                return None
        return None

    def _reach(self) -> str:
        low, high = self.costs.bounds["multiply_adds"]
        return (
            f"space {self.costs.space.name!r} reaches from {low / 1e6:.2f} M to {high / 1e6:.2f} M multiply-adds "
            f"at {self.costs.input_size} pixels"
        )


class Distinct:
    """Collects up to `wanted` genomes that differ from one another and from `known`; keeps the rest as spares."""

    def __init__(self, wanted: int, known=()):
        self._wanted = wanted
        self._seen = {tuple(genome) for genome in np.asarray(known).tolist()}
        self._found: list = []
        self._spare: list = []

    @property
    def missing(self) -> int:
        return self._wanted - len(self._found)

    @property
    def full(self) -> bool:
        return self.missing <= 0

    @property
    def any(self) -> bool:
        return bool(self._found or self._spare)

    def extend(self, genomes) -> None:
        for genome in np.asarray(genomes).tolist():
            if self.full:
                return
            if tuple(genome) in self._seen:
                self._spare = [*self._spare, genome][: self._wanted]
            else:
                self._seen.add(tuple(genome))
                self._found.append(genome)

    def take(self, fallback=()) -> np.ndarray:
        """Exactly `wanted` genomes; repeats fill what is missing."""
        repeats = [*self._spare, *np.asarray(fallback).tolist()] or list(self._found)
        filled = [repeats[i % len(repeats)] for i in range(self.missing)]
        return np.array(self._found + filled, np.int64)
