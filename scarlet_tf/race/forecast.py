"""Forecasts of a race: its length, by settings, first steps and first rung, and what its validation images can tell."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence

import keras

from scarlet_tf.base.words import duration, plural
from scarlet_tf.race.config import sizes, trainings
from scarlet_tf.race.course import Course
from scarlet_tf.race.entrants import Entrant
from scarlet_tf.race.verdict import WORTH_TELLING, needed, smallest_gain

logger = logging.getLogger("scarlet_tf")
MARGIN = 1.25
"""Seconds that a race is said to need for each that its first rung lets expect, where its time is limited. [reading]"""


def announced(course: Course, entrants: Sequence[Entrant], kinds: int) -> list[str]:
    """Say how many epochs the race has in all; what has to be known about its validation images."""
    count, rungs = len(entrants), course.settings.rungs
    length = trainings(count, rungs, kinds)
    logger.info(
        "race forecast: %s in %s, at least %.3g epochs in all, %.3g times the %d of one training",
        plural(count, "network"),
        plural(len(rungs), "rung"),
        length * course.config.epochs,
        length,
        course.config.epochs,
    )
    settings = course.settings
    if course.propose is not None and settings.max_hours is not None and settings.proposals:
        text = "race forecast: up to %s more after the first rung, as far as race.max_hours leaves time for them"
        logger.info(text, plural(settings.proposals, "network"))
    images = getattr(course.images(entrants[0]).validation, "num_examples", None)
    if not images or count < 2 or smallest_gain(images) <= WORTH_TELLING:
        return []
    text = (
        f"{plural(images, 'validation image')} can hardly tell networks apart that differ by less than"
        f" {100 * smallest_gain(images):.1f} points; for {100 * WORTH_TELLING:g} points about"
        f" {needed(WORTH_TELLING):,} are needed"
    )
    logger.warning("race: %s (data.validation_examples)", text)
    return [text]


def seconds_left(first_rung: Sequence[float], entrants: int, rungs: Sequence[float], kinds: int) -> float:
    """Seconds that a race of so many networks takes, of which some were trained to the first rung.

    first_rung: the seconds that each of these took for it; each later rung is taken to be as long for its share of the steps.
    """
    of_one = statistics.median(first_rung)
    done = len(first_rung) * rungs[0]
    return MARGIN * of_one * (trainings(entrants, rungs, kinds) - done) / rungs[0]


class FirstSteps(keras.callbacks.Callback):
    """Tells how long a race takes by the steps of the first of its `entrants`.

    Those of others are as long as they are costly: costs {name: multiply-adds}. steps: of one training.
    """

    def __init__(self, entrants: Sequence[Entrant], costs: Mapping[str, int], course: Course, steps: int, kinds: int):
        super().__init__()
        rungs = course.settings.rungs
        mean = statistics.mean(costs[one.name] for one in entrants) / costs[entrants[0].name]
        self.steps = mean * steps * trainings(len(entrants), rungs, kinds)
        self.begins = sum(sizes(len(entrants), len(rungs), kinds))
        self.words = entrants[0].words

    def on_rehearsal(self, first: float, seconds: float) -> None:
        """See the training loop's Run."""
        text = "race forecast: about %s, by the first steps of %s; other work on this machine counts"
        logger.info(text, duration(self.steps * seconds + first * self.begins), self.words)
