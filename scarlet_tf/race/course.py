"""The course of a race: what its entrants share, and the race that a folder belongs to."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result
from scarlet_tf.base.settings import to_plain
from scarlet_tf.export.tflite import CALIBRATION_IMAGES
from scarlet_tf.models.network import Arrays
from scarlet_tf.race.config import RaceConfig
from scarlet_tf.race.entrants import Entrant
from scarlet_tf.results import to_json
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import NetworkSpec
from scarlet_tf.training.config import RetrainConfig

FOLDER = "race"
ENTRANTS, RUNGS, INT8 = "entrants.json", "rungs.json", "model_int8.tflite"
_IMMATERIAL = ("checkpoint_seconds", "csv", "tensorboard", "pick")
_IMMATERIAL_RULES = ("max_hours", "proposals")
Proposer = Callable[[Mapping[Architecture, float]], Architecture | None]
"""The network to train next, by the scores of others, 0 to 1; None if there is none."""


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
    further networks; see `proposals.proposed`.
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
