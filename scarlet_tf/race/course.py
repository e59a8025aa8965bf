"""The course of a race: what its entrants share, its folder, networks that join it, how long it takes, what the winner gains."""

from __future__ import annotations

import dataclasses
import logging
import math
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base.cluster import search_role
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result
from scarlet_tf.base.settings import to_plain
from scarlet_tf.base.words import duration, plural
from scarlet_tf.evaluation.scoring import inference
from scarlet_tf.export.tflite import CALIBRATION_IMAGES
from scarlet_tf.export.verification import open_tflite
from scarlet_tf.models.network import Arrays, load_network
from scarlet_tf.race.config import RaceConfig, sizes, trainings
from scarlet_tf.race.entrants import DRAWS, Entrant, degrees
from scarlet_tf.race.verdict import WORTH_TELLING, needed, paired, sentence, smallest_gain
from scarlet_tf.results import Row, to_json
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.predictor import Predictor
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import NetworkSpec
from scarlet_tf.training.config import RetrainConfig

FOLDER = "race"
ENTRANTS, RUNGS, INT8 = "entrants.json", "rungs.json", "model_int8.tflite"
_IMMATERIAL = ("checkpoint_seconds", "csv", "tensorboard", "pick")
_IMMATERIAL_RULES = ("max_hours", "proposals")
Proposer = Callable[[Mapping[Architecture, float]], Architecture | None]
"""The network to train next, by the scores of others, 0 to 1; None if there is none."""
logger = logging.getLogger("scarlet_tf")
PROPOSED = "proposed.json"
LEAST_TRAINED = 3
"""Networks that a predictor needs."""
MARGIN = 1.25
"""Seconds that a race is said to need for each that its first rung lets expect, where its time is limited. [reading]"""


@dataclasses.dataclass(frozen=True)
class Images:
    """The splits that a network is trained, compared and at last tested on, at the size that it takes."""

    train: Any
    validation: Any
    test: Any = None


@dataclasses.dataclass(frozen=True)
class Course:
    """Data, settings and starts that the entrants of a race share.

    images: `images(entrant)`. start: `start(entrant)` gives the network as `retrain` takes it, and its first weights, if any.
    input_shape: `input_shape(entrant)`. context: plain JSON that names the data and what the entrants come from: a folder
    of another one is refused. calibration: training images for the ranges of int8 files. propose: finds
    further networks; see `proposed`.
    """

    config: RetrainConfig
    settings: RaceConfig
    folder: pathlib.Path
    num_classes: int
    images: Callable[[Entrant], Images]
    start: Callable[[Entrant], tuple[Architecture | NetworkSpec, Arrays | None]]
    input_shape: Callable[[Entrant], tuple[int, int, int]]
    context: Mapping | str | None = None
    teacher: Callable[[Entrant], keras.Model | None] = lambda entrant: None
    strategy: tf.distribute.Strategy | None = None
    calibration: int = CALIBRATION_IMAGES
    propose: Proposer | None = None


def claimed(course: Course, entrants: Sequence[Entrant]) -> list[Entrant]:
    """The entrants with the scores that they had when the race began; InputError if the folder is of another race."""
    settings = {key: value for key, value in dataclasses.asdict(course.config).items() if key not in _IMMATERIAL}
    rules = {key: value for key, value in to_plain(course.settings).items() if key not in _IMMATERIAL_RULES}
    head: dict[str, Any] = to_json({"retrain": settings, "race": rules, "context": course.context})
    head["networks"] = [_identity(entrant) for entrant in entrants]
    path = course.folder / ENTRANTS
    if not path.exists():
        write_result(path, {**head, "scores": [entrant.score for entrant in entrants]})
        return list(entrants)
    known = read_json(path)
    for key, value in head.items():
        if known.get(key) != value:
            raise InputError(
                f"{course.folder}: it belongs to another race: {key}: expected {_short(value)}, found"
                f" {_short(known.get(key))}; use another folder, or remove it"
            )
    return [dataclasses.replace(one, score=score) for one, score in zip(entrants, known["scores"], strict=True)]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _identity(entrant: Entrant) -> dict[str, Any]:
    network = entrant.network
    if isinstance(network, Architecture):
        about: Any = {"space": network.space.fingerprint, "choices": network.to_string()}
    else:
        about = to_json(network.to_dict())
    return {"name": entrant.name, "kind": entrant.kind, "network": about, "input_size": entrant.input_size}


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
    """The proposals of a race, kept in its folder: a race that resumes has those that it had.

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


def hits(course: Course, entrant: Entrant, split) -> np.ndarray:
    """True for each image of a split that the judged form of a trained network recognises, bool [N]."""
    folder = course.folder / entrant.name
    if course.settings.judge == "int8":
        predict, _ = open_tflite(folder / INT8)
    else:
        predict = inference(load_network(folder / "retrain" / "model.keras"))
    found = [
        np.argmax(np.asarray(predict(np.asarray(images))), -1) == _classes(labels)
        for images, labels in split.batches(course.config.batch_size)
    ]
    return np.concatenate(found)


def _classes(labels) -> np.ndarray:
    labels = np.asarray(labels)
    return np.argmax(labels, -1) if labels.ndim == 2 else labels


def gains_of(course: Course, ranked: Sequence[Entrant]) -> list[dict[str, Any]]:
    """The winner's gains over the rivals in the last rung; a winning rival's over the best finalist there, too.

    ranked: the networks of the last rung, the best first. Empty without test images.
    """
    winner, *others = ranked
    against = [one for one in others if one.is_rival]
    if winner.kind != "finalist":
        against = [*[one for one in others if one.kind != "rival" and one.kind != winner.kind][:1], *against]
    if not against or course.images(winner).test is None:
        return []
    ours = hits(course, winner, course.images(winner).test)
    rows = []
    for other in against:
        found = paired(ours, hits(course, other, course.images(other).test))
        rows.append({"against": other.name, "kind": other.kind, **found, "text": sentence(found, other.words)})
    return rows


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
        text = "race forecast: about %s%s, by the first steps of %s; other work on this machine counts"
        where = "" if search_role() == "alone" else " in one process"
        logger.info(text, duration(self.steps * seconds + first * self.begins), where, self.words)
