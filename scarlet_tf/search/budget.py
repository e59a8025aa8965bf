"""Genomes within hard bounds: drawn at random, bred, and brought nearer to the bounds where these are tight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import bound_text
from scarlet_tf.search.objectives import CostModel, Objectives, key_of
from scarlet_tf.space.equivalence import skip_of
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.sampling import largest_path

# Uniform draws tried for each individual that is wanted, before draws out of bounds are brought nearer step by step.
DRAWS_PER_INDIVIDUAL = 100
# Rounds of one draw for each individual still wanted, brought nearer until it is within the bounds.
REPAIR_ROUNDS = 20
# Rounds of mating in which children out of bounds are thrown away; in as many more they are brought nearer instead.
MATING_ROUNDS = 10


class Budget:
    """The bounds of `objectives` on what costs or a table say of genomes, before anything is evaluated."""

    def __init__(self, cost_model: CostModel, objectives: Objectives):
        self.cost_model, self.objectives = cost_model, objectives
        self._upper = {name: value for name, value in objectives.upper_bounds.items() if name in cost_model.names}
        self._lower = {name: value for name, value in objectives.lower_bounds.items() if name in cost_model.names}
        self._bounded = list(dict.fromkeys([*self._upper, *self._lower]))

    def met_by(self, genomes) -> np.ndarray:
        """True for each of genomes [N, num_layers] that is within the bounds, bool [N]."""
        return self.objectives.meets(self.cost_model.of(genomes))

    def sample(self, wanted: int, rng, known=()) -> np.ndarray:
        """`wanted` genomes under budget, [wanted, num_layers], distinct and not in `known` where so many can be found.

        In a space around a network, that network without its last blocks comes first, see `shortened`; then draws that meet the
        budget. When a tight budget refuses nearly all of them, random draws
        are brought nearer step by step until they meet it: no longer uniform, but bounded and spread over layers.
        """
        found = Distinct(wanted, known)
        plain = np.array(shortened(self.cost_model.costs.space), np.int64)
        if len(plain):
            found.extend(plain[self.met_by(plain)])
        for _ in range(DRAWS_PER_INDIVIDUAL):
            draws = self._draw(wanted, rng)
            found.extend(draws[self.met_by(draws)])
            if found.full:
                return found.take()
        for _ in range(REPAIR_ROUNDS):
            missing = found.missing
            found.extend(self._repaired(self._draw(missing, rng), rng))
            # A whole round of nothing new: the budget leaves hardly more networks than were found.
            if found.full or (found.any and found.missing == missing):
                break
        if not found.any:
            bounds = [
                f"{key_of('upper_bounds', name)} {bound_text(name, value)}" for name, value in self._upper.items()
            ]
            bounds += [
                f"{key_of('lower_bounds', name)} {bound_text(name, value)}" for name, value in self._lower.items()
            ]
            raise InputError(
                f"{', '.join(bounds)}: no network within all of them was found in {DRAWS_PER_INDIVIDUAL * wanted} random "
                f"draws and {REPAIR_ROUNDS * wanted} draws brought nearer; {self.cost_model.reach(self._bounded)}"
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
                found.extend(self._repaired(children[~feasible], rng))
            if found.full or (attempt >= MATING_ROUNDS and found.missing == missing):
                break
        return found.take(fallback=population)

    def _draw(self, count: int, rng) -> np.ndarray:
        """Genomes [count, num_layers]: uniform, or in a space around a network near that network.

        There each layer is the network's own with a probability that a genome draws from 0 to 1; a layer that changes its
        input's shape, whose skip costs most, with at least 3/4. Two thirds of the other layers with a shortcut are skipped.
        """
        space = self.cost_model.costs.space
        size = (count, space.num_layers)
        genomes = rng.integers(space.num_choices, size=size)
        if not is_around(space):
            return genomes
        shortcuts = np.isin(np.arange(space.num_layers), with_shortcut(space))
        keeps = np.where(shortcuts, rng.random((count, 1)), 0.75 + 0.25 * rng.random((count, 1)))
        skip = skip_of(space)
        skipped = space.num_choices - 1 if skip is None else skip
        genomes = np.where(shortcuts & (rng.random(size) < 2 / 3), skipped, genomes)
        return np.where(rng.random(size) < keeps, largest_path(space), genomes)

    def _repaired(self, genomes, rng) -> list[np.ndarray]:
        repaired = [self._repair(genome, rng) for genome in genomes]
        return [genome for genome in repaired if genome is not None]

    def _repair(self, genome, rng) -> np.ndarray | None:
        """Redraws genes at random among choices that miss the bounds by less, until none is missed; None where stuck."""
        genome = genome.copy()
        space = self.cost_model.costs.space
        # Every step comes nearer to the bounds, so the loop ends; the count is there against surprises.
        for _ in range(space.num_layers * space.num_choices):
            (missed,) = self._missed(genome[None])
            if missed <= 0 and self.met_by(genome[None])[0]:
                return genome
            for layer in rng.permutation(space.num_layers):
                variants = np.repeat(genome[None], space.num_choices, axis=0)
                variants[:, layer] = np.arange(space.num_choices)
                nearer = np.flatnonzero(self._missed(variants) < missed)
                if len(nearer):
                    genome[layer] = rng.choice(nearer)
                    break
            else:
                return None
        return None

    def _missed(self, genomes) -> np.ndarray:
        """By how much of a metric's range in the space genomes miss the bounds, summed over them, [N]."""
        metrics, total = self.cost_model.of(genomes), np.zeros(len(genomes))
        for name in self._bounded:
            low, high = self.cost_model.bounds[name]
            # A metric that equals its bound misses it, by next to nothing.
            smallest = 1e-9 * max(high - low, 1e-9)
            over = metrics[name] - self._upper.get(name, np.inf)
            under = self._lower.get(name, -np.inf) - metrics[name]
            for excess in (over, under):
                total += np.where(excess >= 0, np.maximum(excess, smallest), 0.0) / max(high - low, 1e-9)
        return total


def is_around(space: SearchSpace) -> bool:
    """True for a space around a network."""
    return any(choice.share for choice in space.choices)


def with_shortcut(space: SearchSpace) -> list[int]:
    """The layers that keep their input's shape."""
    return [layer.index for layer in space.layers if layer.stride == 1 and layer.in_channels == layer.out_channels]


def shortened(space: SearchSpace) -> list[tuple[int, ...]]:
    """The network that a space is around, whole, and then `without_last`: the plain way to make a network cheaper."""
    skip = skip_of(space)
    if not is_around(space) or skip is None:
        return []
    whole = tuple(largest_path(space))
    return [whole, *without_last(space, whole, skip)]


def without_last(space: SearchSpace, genome: Sequence[int], skip: int) -> Iterator[tuple[int, ...]]:
    """The genome without the last layer with a shortcut of each stage, from the last stage on, then the second to last, ..."""
    shorter, first, groups = list(genome), 0, []
    for stage in space.stages:
        groups.append([layer for layer in with_shortcut(space) if first <= layer < first + stage.depth])
        first += stage.depth
    for depth in range(1, 1 + max(map(len, groups))):
        for group in reversed(groups):
            if depth <= len(group):
                shorter[group[-depth]] = skip
                yield tuple(shorter)


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
