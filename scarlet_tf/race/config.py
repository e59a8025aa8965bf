"""RaceConfig: who races, how far, and by what the best is told. Imports no framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import MinLen

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import AboveZero, Lax, Positive, Whole, validated

Rival = Literal["uniform", "deepest", "random", "parent"]
RIVALS: tuple[Rival, ...] = ("uniform", "deepest", "random", "parent")


@validated("race")
@dataclasses.dataclass(frozen=True)
class RaceConfig:
    """Settings of the race between the search's best networks and rivals that need no search; `race: off` leaves it out.

    Each network is trained as `retrain` says, in as many parts as there are rungs; after each part the worse half ends.
    What the winner has been trained already is not trained again.

    Args:
        finalists: the best networks of the search within every bound that race, each unlike the others in at least a quarter
            of the layers, and of each other of `search.input_sizes` the best one; 0 for no race, which trains the best one alone.
        rivals: of uniform, the greatest network within the bounds whose layers are all alike; deepest, the one of most layers;
            random, one drawn at random; and parent, the network that the run starts from at the greatest image size at which
            it keeps the bounds.
        rungs: shares of the training after which the networks are compared, rising to 1.
        judge: what the last comparison is of, on validation images: the trained networks, or the int8 files made of them.
        max_hours: the race ends within this time, with the best network so far, which is trained to its end alone; null
            for no limit.
        proposals: at most so many further networks race where `max_hours` leaves the time: each the one within the bounds of
            which a predictor, fitted to the networks that raced so far, expects most after the first rung.
        seed: of the random network; in a configuration the run's.
    """

    finalists: Whole = 4
    rivals: Annotated[tuple[Rival, ...], Lax()] = RIVALS
    rungs: Annotated[tuple[AboveZero, ...], Lax(), MinLen(1)] = (0.25, 0.5, 1.0)
    judge: Literal["float32", "int8"] = "float32"
    max_hours: Positive | None = None
    proposals: Whole = 8
    seed: Whole = 0

    def __post_init__(self):
        if list(self.rungs) != sorted(set(self.rungs)) or self.rungs[-1] != 1:
            raise InputError(f"race.rungs: expected rising shares that end with 1, got {list(self.rungs)}")
        if len(set(self.rivals)) != len(self.rivals):
            raise InputError(f"race.rivals: expected no repeats, got {list(self.rivals)}")

    @property
    def is_wanted(self) -> bool:
        """True if networks race."""
        return self.finalists > 0


def sizes(entrants: int, rungs: int, kinds: int = 1) -> list[int]:
    """Numbers of networks that begin each rung, `entrants` the first: the better half of those before.

    kinds: 2 for finalists and rivals, of which the best ones stay, so that there may be one network more than stated.
    """
    found = [entrants]
    while len(found) < rungs:
        found.append(max(-(-found[-1] // 2), min(kinds, entrants)))
    return found


def trainings(entrants: int, rungs: Sequence[float], kinds: int = 1) -> float:
    """The race's length in whole trainings of one network, for `sizes` networks."""
    shares = [share - before for share, before in zip(rungs, (0.0, *rungs), strict=False)]
    return sum(count * share for count, share in zip(sizes(entrants, len(rungs), kinds), shares, strict=True))
