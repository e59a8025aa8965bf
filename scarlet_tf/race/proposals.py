"""Proposals: networks that join a race because its own trainings let expect most of them, as long as its time allows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result
from scarlet_tf.race.course import Course
from scarlet_tf.race.entrants import DRAWS, Entrant, degrees
from scarlet_tf.results import Row
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.predictor import Predictor
from scarlet_tf.space.search_space import Architecture

logger = logging.getLogger("scarlet_tf")
PROPOSED = "proposed.json"
LEAST_TRAINED = 3
"""Networks that a predictor needs."""


def proposed(
    budget: Budget,
    fits: Callable[[Architecture], bool],
    trained: Mapping[Architecture, float],
) -> Architecture | None:
    """The network of which a predictor, fitted to scores from 0 to 1 of trained ones, expects most among all within the budget.

    It is unlike all of these in a quarter of the layers, or in fewer if there is no such network. fits: what else has to hold
    of it, such as of its cost once folded. None if fewer than three were trained, or if there is no other network.
    """
    if len(trained) < LEAST_TRAINED:
        return None
    model = Predictor(budget.cost_model, [one.choices for one in trained], list(trained.values()))
    space = budget.cost_model.costs.space
    for least in degrees(space.num_layers):
        refused: list[tuple[int, ...]] = []
        while len(refused) < DRAWS and (found := model.propose(1, budget.objectives, refused, least)):
            if fits(network := Architecture(found[0], space)):
                return network
            refused += found
    return None


class Proposals:
    """The proposals of a race, kept in its folder: a race that goes on has those that it had.

    made: so far. They are made after the first rung of all others, one by one, and no more once the race went on.
    """

    def __init__(self, course: Course, entrants: Sequence[Entrant]):
        self.course, self.path = course, course.folder / PROPOSED
        spaces = [one.network.space for one in entrants if isinstance(one.network, Architecture)]
        known = self._known()
        self.is_over = known["is_over"]
        self.made = [self._entrant(i, Architecture.parse(text, spaces[0])) for i, text in enumerate(known["networks"])]

    def next(self, raced: Sequence[tuple[Entrant, Sequence[Row]]], has_time: Callable[[], bool]) -> Entrant | None:
        """The next one, where the settings, the time and the space allow one.

        raced: networks with the rungs that they finished. has_time: True if the race can end in time with one more.
        """
        settings = self.course.settings
        if self.course.propose is None or settings.max_hours is None or self.is_over:
            return None
        network = None
        if len(self.made) < settings.proposals and all(len(rungs) == 1 for _, rungs in raced) and has_time():
            trained = {
                one.network: math.exp(-rungs[0]["loss"])
                for one, rungs in raced
                if one.input_size is None and isinstance(one.network, Architecture)
            }
            network = self.course.propose(trained)
        if network is None:
            self._write(is_over=True)
            return None
        self.made.append(self._entrant(len(self.made), network))
        self._write()
        logger.info("race: %s: %s", self.made[-1].words, network.to_string())
        return self.made[-1]

    def _entrant(self, index: int, network: Architecture) -> Entrant:
        return Entrant(f"proposal_{index + 1}", "proposed", network)

    def _write(self, is_over: bool = False) -> None:
        self.is_over = is_over
        write_result(self.path, {"networks": [one.choices for one in self.made], "is_over": is_over})

    def _known(self) -> Row:
        if not self.path.exists():
            return {"networks": [], "is_over": False}
        try:
            return read_json(self.path)
        except InputError as error:
            raise InputError(f"{error}; remove the folder {self.path.parent} to race again") from error
