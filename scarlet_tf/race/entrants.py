"""Entrants of a race: the search's best networks, unlike each other, and the rivals that a user has without a search."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from scarlet_tf.race.config import RaceConfig
from scarlet_tf.search.budget import Budget, is_around, shortened, without_last
from scarlet_tf.search.front import Candidate
from scarlet_tf.space.equivalence import canonical, skip_of
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import NetworkSpec
from scarlet_tf.training.sampling import largest_path, smallest_path

logger = logging.getLogger("scarlet_tf")
LEAST_UNLIKE = 0.25
"""Share of the layers in which finalists differ from each other: nearly equal networks are nearly equally good."""
DRAWS = 16
Genome = tuple[int, ...]
Kind = Literal["finalist", "rival", "proposed"]


@dataclasses.dataclass(frozen=True)
class Entrant:
    """A network of a race.

    name: also of its folder. kind: "finalist", which a search found, "rival", or "proposed" by the race's own trainings.
    network: as it is trained, before `retrain`'s scaling. input_size: side of its images in pixels; None where all networks see
    the same. score: the search's, 0 to 1, if it has one.
    """

    name: str
    kind: Kind
    network: Architecture | NetworkSpec
    input_size: int | None = None
    score: float | None = None

    @property
    def is_rival(self) -> bool:
        """True if a user has it without a search and a race."""
        return self.kind == "rival"

    @property
    def choices(self) -> str | None:
        """The architecture as text; None for a NetworkSpec."""
        return self.network.to_string() if isinstance(self.network, Architecture) else None

    @property
    def words(self) -> str:
        """Such as "the uniform network"."""
        return in_words(self.name, self.kind, self.input_size)


def in_words(name: str, kind: str, input_size: int | None = None) -> str:
    """An entrant in a sentence."""
    at = f" at {input_size} pixels" if input_size else ""
    if kind == "finalist":
        return f"{name.replace('_', ' ')} of the search{at}" if name.startswith("finalist_") else f"{name}{at}"
    if kind == "proposed":
        return f"{name.replace('_', ' ')} of the race's own trainings{at}"
    named = {name: f"the {name} network" for name in ("uniform", "deepest", "random")}
    return {**named, "parent": "the parent", "shortened": "the shortened parent"}.get(name, name) + at


def finalists(
    candidates: Sequence[Candidate],
    count: int,
    known: Sequence[Architecture] = (),
    fits: Callable[[Architecture], bool] = lambda architecture: True,
) -> tuple[list[Candidate], int]:
    """The first `count` candidates that differ from each other in enough layers, and in how many they do.

    candidates: the best first. known: networks that race anyway. fits: of a network, what has to hold besides. Where a
    quarter of the layers leaves too few, fewer layers do, down to one; there may be fewer than `count` then, too.
    """
    chosen: list[Candidate] = []
    for least in degrees(len(candidates[0].architecture.choices)) if candidates else ():
        chosen = []
        for candidate in candidates:
            genome = one_form(candidate.architecture)
            others = [one_form(one.architecture) for one in chosen]
            is_new = genome not in map(one_form, known) and all(_unlike(genome, other) >= least for other in others)
            if is_new and fits(candidate.architecture):
                chosen.append(candidate)
            if len(chosen) == count:
                return chosen, least
    return chosen, 1


def degrees(layers: int) -> Sequence[int]:
    """Numbers of layers in which networks are to differ, from a quarter, rounded up, down to one."""
    return range(max(1, -(-layers // round(1 / LEAST_UNLIKE))), 0, -1)


def one_form(network: Architecture | NetworkSpec) -> Genome:
    """Choices that all architectures of equal networks share."""
    assert isinstance(network, Architecture)  # a search has no others
    return tuple(canonical([network.choices], network.space)[0].tolist())


def _unlike(first: Genome, second: Genome) -> int:
    return sum(a != b for a, b in zip(first, second, strict=True))


def rivals(
    budget: Budget, settings: RaceConfig, fits: Callable[[Architecture], bool] = lambda architecture: True
) -> list[Entrant]:
    """The rivals of `settings` within the budget, all different; the parent at another size is not among them.

    fits: of a network within the budget, what else has to hold, such as of its cost once folded. A rival that no network
    fits, or that another one is already, is left out with a line that says so.
    """
    space = budget.cost_model.costs.space
    found: list[Entrant] = []
    known: list[Genome] = []
    makers: dict[str, Callable[[], Iterator[Genome]]] = {
        "uniform": lambda: uniform(budget),
        "deepest": lambda: deepest(budget),
        "random": lambda: _random(budget, settings.seed, known),
    }
    for name in settings.rivals:
        if name not in makers:
            continue
        network = next((a for g in makers[name]() if fits(a := Architecture(g, space))), None)
        called = "shortened" if name == "uniform" and is_around(space) else name
        twin = next((one for one in found if network is not None and one_form(one.network) == one_form(network)), None)
        if network is None:
            logger.info("race: no %s network keeps the bounds; it is left out", called)
        elif twin is not None:
            logger.info("race: the %s network is %s, and races once", called, twin.words)
        else:
            found.append(Entrant(called, "rival", network))
            known.append(network.choices)
    return found


def uniform(budget: Budget) -> Iterator[Genome]:
    """Networks within the budget whose layers all have the same choice, the greatest first; then shortened ones.

    A network is shortened by the last layer of each stage, then the second to last, as far as these keep their input's
    shape. In a space around a network that network counts, whole and shortened.
    """
    space = budget.cost_model.costs.space
    if is_around(space):
        yield from _greatest_first(budget, shortened(space) or [largest_path(space)])
        return
    whole = [(index,) * space.num_layers for index, choice in enumerate(space.choices) if not choice.is_skip]
    yield from _greatest_first(budget, whole)
    skip = skip_of(space)
    if skip is not None:
        yield from _greatest_first(budget, [each for one in whole for each in without_last(space, one, skip)])


def deepest(budget: Budget) -> Iterator[Genome]:
    """The network within the budget with the most layers, and of those a great one; both found greedily.

    From each layer's cheapest choice that is no skip, the most expensive layers are skipped until the budget is met; then the
    step that adds most multiply-adds within the budget is taken again and again.
    """
    space = budget.cost_model.costs.space
    skip, genome = skip_of(space), list(_cheapest(space))
    while not budget.met_by([genome])[0]:
        shorter = (
            [] if skip is None else _changes(genome, [layer for layer, now in enumerate(genome) if now != skip], [skip])
        )
        if not shorter:
            return
        genome = min(shorter, key=lambda one: _cost(budget, one))
    while True:
        greater = _changes(genome, [layer for layer, now in enumerate(genome) if now != skip], _blocks(space))
        if not greater:
            break
        costs = [_cost(budget, one) if met else 0 for one, met in zip(greater, budget.met_by(greater), strict=True)]
        if max(costs) <= _cost(budget, genome):
            break
        genome = greater[int(np.argmax(costs))]
    yield tuple(genome)


def _random(budget: Budget, seed: int, known: Sequence[Genome]) -> Iterator[Genome]:
    plain = shortened(budget.cost_model.costs.space)
    for genome in budget.sample(DRAWS, np.random.default_rng(seed), [*known, *plain]).tolist():
        if tuple(genome) not in (*known, *plain):
            yield tuple(genome)


def _greatest_first(budget: Budget, genomes: Sequence[Genome]) -> Iterator[Genome]:
    met = [one for one, is_met in zip(genomes, budget.met_by(list(genomes)), strict=True) if is_met] if genomes else []
    yield from sorted(dict.fromkeys(met), key=lambda one: -_cost(budget, one))


def _cost(budget: Budget, genome: Sequence[int]) -> float:
    return float(budget.cost_model.of_one(tuple(genome))["multiply_adds"])


def _changes(genome: Sequence[int], layers: Sequence[int], choices: Sequence[int]) -> list[list[int]]:
    """The genomes with another one of the choices in one of the layers."""
    return [[*genome[:layer], new, *genome[layer + 1 :]] for layer in layers for new in choices if new != genome[layer]]


def _blocks(space: SearchSpace) -> list[int]:
    return [index for index, choice in enumerate(space.choices) if not choice.is_skip]


def _cheapest(space: SearchSpace) -> Genome:
    """Each layer's choice of the fewest multiply-adds that is no skip."""
    if skip_of(space) is None:
        return smallest_path(space)
    blocks = dataclasses.replace(space, choices=tuple(space.choices[index] for index in _blocks(space)))
    return tuple(_blocks(space)[index] for index in smallest_path(blocks))
