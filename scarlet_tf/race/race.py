"""race: networks trained side by side in parts, after each of which the worse half ends; resumable at any step."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from scarlet_tf.assessment.statistics import kendall
from scarlet_tf.base import host
from scarlet_tf.base.cluster import check_no_limit, search_role, share, wait_for
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result
from scarlet_tf.base.settings import as_settings
from scarlet_tf.base.words import gibibytes, percent, plural
from scarlet_tf.data.inputs import as_split, count_classes, image_shape
from scarlet_tf.export.folding import MAX_CONDITION_INT8, fold
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.models.network import load_network
from scarlet_tf.race.config import RaceConfig
from scarlet_tf.race.course import (
    FOLDER,
    INT8,
    RUNGS,
    Course,
    FirstSteps,
    Images,
    Proposals,
    announced,
    claimed,
    gains_of,
    hits,
    seconds_left,
)
from scarlet_tf.race.entrants import Entrant
from scarlet_tf.race.verdict import in_sentences, still_learning
from scarlet_tf.results import RaceResult, Row, from_json, to_json
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import NetworkSpec
from scarlet_tf.training import memory
from scarlet_tf.training.checkpoints import Checkpoints
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.forecast import REASON, RESERVED_SHARE
from scarlet_tf.training.network import Part, retrain

logger = logging.getLogger("scarlet_tf")
LEAST_FOR_TAU = 3


def race(
    candidates: Sequence[Architecture | NetworkSpec] | Mapping[str, Architecture | NetworkSpec],
    train_data,
    validation_data,
    config: RetrainConfig | dict | None = None,
    run_dir=".",
    rivals: Mapping[str, Architecture | NetworkSpec] | None = None,
    test_data=None,
    race_config: RaceConfig | dict | None = None,
    scores: Sequence[float] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
    max_hours: float | None = None,
    context: Mapping | str | None = None,
) -> RaceResult:
    """Train networks in parts, drop the worse half after each part, and write `run_dir`/race/result.json.

    A network continues from its own checkpoint, so the winner's training is the one that `retrain` would have done. Called
    again after an interruption, the race resumes where it was. With KerasTuner's variables for a chief and its workers set,
    the workers share out the trainings of each rung; all see `run_dir`, and a worker returns what its chief writes.

    Args:
        candidates: networks, as a list or by name; of a list they are called finalist_1, ...
        train_data, validation_data: splits, batched tf.data.Datasets or (images, labels). Networks are compared by their
            validation images alone.
        config: a RetrainConfig or its fields: of each training.
        run_dir: checkpoints and, of those in the last rung, `model.keras` go to `<run_dir>/race/<name>/retrain`.
        rivals: networks to beat, by name; the best one stays to the last rung, as the best candidate does.
        test_data: read once, at the end, for the winner's gains over the rivals in the last rung.
        race_config: a RaceConfig or its fields; its `finalists`, `rivals` and `proposals` count for the pipeline alone.
        scores: of the candidates, in their order, such as one-shot accuracies, for `tau`.
        input_shape, num_classes: of the architectures' networks, as for `retrain`.
        max_hours: the race ends within this time with the best so far; the tighter of this and `race_config.max_hours`.
        context: plain JSON that names the data; a folder of a race under another one is refused.

    Raises InputError for bad values, for names that no folder can have, and for a folder of another race.
    """
    host.check()
    config, settings = as_settings(RetrainConfig, config), as_settings(RaceConfig, race_config)
    train, validation = as_split(train_data), as_split(validation_data)
    classes = count_classes(train, validation) if num_classes is None else num_classes
    shape = input_shape or image_shape(train)
    images = Images(train, validation, None if test_data is None else as_split(test_data))
    named = (
        candidates if isinstance(candidates, Mapping) else {f"finalist_{i + 1}": c for i, c in enumerate(candidates)}
    )
    if scores is not None and len(scores) != len(named):
        raise InputError(f"scores: expected one for each of the {len(named)} candidates, got {len(scores)}")
    rated = [None] * len(named) if scores is None else [float(score) for score in scores]
    entrants = [
        *(Entrant(name, "finalist", one, score=score) for (name, one), score in zip(named.items(), rated, strict=True)),
        *(Entrant(name, "rival", one) for name, one in (rivals or {}).items()),
    ]
    course = Course(
        config,
        settings,
        pathlib.Path(run_dir) / FOLDER,
        classes,
        images=lambda entrant: images,
        start=lambda entrant: (entrant.network, None),
        input_shape=lambda entrant: shape,
        context=context,
        strategy=strategy,
    )
    result = run_race(course, entrants, max_hours)
    path = pathlib.Path(run_dir) / RaceResult.FILE
    if result is None:
        wait_for(path)
        return from_json(RaceResult, read_json(path), str(path))
    write_result(path, to_json(result))
    return result


def run_race(
    course: Course, entrants: Sequence[Entrant], max_hours: float | None = None, notes: Sequence[str] = ()
) -> RaceResult | None:
    """The race's result, which this does not write; None in a worker; see `race`."""
    check_no_limit(max_hours, "max_hours")
    check_no_limit(course.settings.max_hours, "race.max_hours")
    names = [entrant.name for entrant in entrants]
    if not entrants or len(set(names)) != len(names) or not all(name.isidentifier() for name in names):
        raise InputError(f"race: expected at least one network, and names of letters, digits and _, got {names}")
    return _Race(course, claimed(course, entrants), max_hours, notes).run()


class _OutOfTime(Exception):
    """The race's time is over."""


class _Race:
    """The state of a race: what each entrant did in the rungs that it finished."""

    def __init__(self, course: Course, entrants: Sequence[Entrant], max_hours: float | None, notes: Sequence[str]):
        self.course, self.notes = course, list(notes)
        self.kinds = len({entrant.is_rival for entrant in entrants})
        self.proposals = Proposals(course, entrants)
        self.entrants = [*entrants, *self.proposals.made]
        limits = [hours for hours in (max_hours, course.settings.max_hours) if hours is not None]
        self.end = time.monotonic() + 3600 * min(limits) * (1 - RESERVED_SHARE) if limits else math.inf
        self.steps_per_epoch = course.images(entrants[0]).train.steps_per_epoch(course.config.batch_size)
        self.total = self.steps_per_epoch * course.config.epochs
        self.goals = [max(1, math.ceil(share * self.total)) for share in course.settings.rungs]
        self.records = {entrant.name: self._known(entrant) for entrant in self.entrants}
        self.costs = {entrant.name: self._cost(entrant) for entrant in self.entrants}
        self.dropped: dict[str, int] = {}

    def run(self) -> RaceResult | None:
        going, stopped = list(self.entrants), None
        self.notes += announced(self.course, going, self.kinds)
        last = len(self.goals) - 1
        for rung, goal in enumerate(self.goals):
            try:
                self._train(going, rung, goal)
                if rung == 0:
                    self._add_proposals(going, goal)
                if rung == last and self.course.settings.judge == "int8":
                    self._share(going, lambda entrant: "int8" in (self._read(entrant) or [{}])[-1], self._judge_int8)
            except _OutOfTime:
                stopped = REASON
                finished = [entrant for entrant in going if len(self._rows(entrant)) >= max(rung, 1)]
                going = sorted(finished, key=lambda entrant: self._key(entrant, max(rung - 1, 0))) or going[:1]
                logger.info("race: ended by the limit on its hours in rung %d; the best so far is kept", rung + 1)
                break
            going = sorted(going, key=lambda entrant: self._key(entrant, rung))
            if rung < last:
                going = self._survivors(going, rung)
        if search_role() == "worker":
            return None
        logger.info("race: won by %s", going[0].words)
        result = self._result(going, stopped)
        if stopped is None:
            self._tidy()
        return result

    def _train(self, going: Sequence[Entrant], rung: int, goal: int) -> None:
        """Train all to the rung's last step."""
        numbers = {entrant.name: f"{number} of {len(going)}" for number, entrant in enumerate(going, 1)}
        self._share(
            going,
            lambda entrant: len(self._read(entrant)) > rung,
            lambda entrant: self._advance(entrant, rung, goal, numbers[entrant.name]),
        )

    def _share(
        self, going: Sequence[Entrant], is_done: Callable[[Entrant], bool], do: Callable[[Entrant], None]
    ) -> None:
        share(going, lambda entrant: self.course.folder / entrant.name, is_done, do)

    def _add_proposals(self, going: list[Entrant], goal: int) -> None:
        """Let networks that are proposed by all trainings so far begin the race, as long as they end in time."""
        while (entrant := self.proposals.next([(one, self._rows(one)) for one in going], self._has_time)) is not None:
            going.append(entrant)
            self.entrants.append(entrant)
            self.records[entrant.name], self.costs[entrant.name] = self._known(entrant), self._cost(entrant)
            self._advance(entrant, 0, goal, "proposed")

    def _has_time(self) -> bool:
        """True if the race is forecast to end in time with one network more, all others being through the first rung."""
        seconds = [self._rows(one)[0]["seconds"] for one in self.entrants]
        left = seconds_left(seconds, len(seconds) + 1, self.course.settings.rungs, self.kinds)
        return time.monotonic() + left < self.end

    def _tidy(self) -> None:
        """Remove the checkpoints of networks that were dropped: nothing continues them."""
        for name in self.dropped:
            for path in Checkpoints(self.course.folder / name / "retrain").paths():
                path.unlink(missing_ok=True)

    def _survivors(self, ranked: Sequence[Entrant], rung: int) -> list[Entrant]:
        """The better half, and the best rival and the best of the others, which say at the end what the search was worth."""
        best = [next((one for one in ranked if one.is_rival == is_rival), None) for is_rival in (False, True)]
        half = ranked[: -(-len(ranked) // 2)]
        kept = [entrant for entrant in ranked if entrant in half or entrant in best]
        ended = [entrant for entrant in ranked if entrant not in kept]
        self.dropped |= {entrant.name: rung + 1 for entrant in ended}
        if ended:
            logger.info(
                "race: dropped after rung %d of %d: %s",
                rung + 1,
                len(self.goals),
                ", ".join(one.words for one in ended),
            )
        return kept

    # -- training in parts

    def _advance(self, entrant: Entrant, rung: int, goal: int, number: str) -> None:
        """Train to the rung's last step and keep what the validation images say."""
        course, began = self.course, time.monotonic()
        if began >= self.end:
            raise _OutOfTime
        if len(self._rows(entrant)) < rung:
            path = course.folder / entrant.name / RUNGS
            raise InputError(
                f"{path}: expected {plural(rung, 'rung')} of it, found fewer; start again, which repeats it"
            )
        network, initial = course.start(entrant)
        images, folder = course.images(entrant), course.folder / entrant.name
        costs = {name: multiply_adds for name, (multiply_adds, _) in self.costs.items()}
        is_first = rung == 0 and not any(self.records.values())
        others = [one for one in self.entrants if one.name != entrant.name]
        told = (FirstSteps([entrant, *others], costs, course, self.total, self.kinds),) if is_first else ()
        _, figures = retrain(
            network,
            images.train,
            images.validation,
            course.config,
            run_dir=folder,
            initial=initial,
            input_shape=course.input_shape(entrant),
            num_classes=course.num_classes,
            strategy=course.strategy,
            callbacks=told,
            teacher=course.teacher(entrant),
            part=Part(entrant.name, lambda step: step >= goal or time.monotonic() >= self.end),
        )
        gc.collect()  # the network's traced graphs refer to each other
        if told:
            text = "race forecast: %s of the %s of memory available, by the first of its trainings"
            logger.info(text, gibibytes(memory.peak_bytes()), gibibytes(memory.limit_bytes()))
        if figures["steps"] < goal:
            raise _OutOfTime
        found = figures["validation"]
        row = {"steps": figures["steps"], **found, "seconds": round(time.monotonic() - began, 3)}
        self._keep(entrant, [*self._rows(entrant), row], figures["history"])
        logger.info(
            "race: rung %d of %d, %s: %s: loss %.4g, %s of %s after %s of %d epochs",
            rung + 1,
            len(self.goals),
            number,
            entrant.words,
            found["loss"],
            percent(found["accuracy"]),
            plural(found["num_examples"], "validation image"),
            f"{figures['steps'] / self.steps_per_epoch:.3g}",
            course.config.epochs,
        )

    def _judge_int8(self, entrant: Entrant) -> None:
        """Add the int8 file's accuracy on the validation images to the last rung."""
        rows = self._rows(entrant)
        if "int8" in rows[-1]:
            return
        if time.monotonic() >= self.end:
            raise _OutOfTime
        images, folder = self.course.images(entrant), self.course.folder / entrant.name
        folded, _ = fold(load_network(folder / "retrain" / "model.keras"), MAX_CONDITION_INT8)
        options = {"representative_data": images.train, "num_calibration_images": self.course.calibration}
        export_tflite(folded, folder / INT8, "int8", **options)
        accuracy = float(np.mean(hits(self.course, entrant, images.validation)))
        rows = [*rows[:-1], {**rows[-1], "int8": accuracy}]
        self._keep(entrant, rows, self.records[entrant.name]["history"])
        logger.info("race: %s: %s as an int8 file", entrant.words, percent(accuracy))

    def _known(self, entrant: Entrant) -> dict[str, Any]:
        path = self.course.folder / entrant.name / RUNGS
        try:
            return read_json(path) if path.exists() else {}
        except InputError as error:
            logger.warning("%s; it is measured again", error)
            return {}

    def _keep(self, entrant: Entrant, rows: Sequence[Row], history: Sequence[Row]) -> None:
        record = to_json({"rungs": rows, "history": history})
        write_result(self.course.folder / entrant.name / RUNGS, record)
        self.records[entrant.name] = record

    def _read(self, entrant: Entrant) -> list[Row]:
        """The rungs that an entrant finished, here or in another process."""
        path = self.course.folder / entrant.name / RUNGS
        if search_role() != "alone" and path.exists():
            with contextlib.suppress(InputError):  # read again a moment later
                self.records[entrant.name] = read_json(path)
        return self._rows(entrant)

    def _rows(self, entrant: Entrant) -> list[Row]:
        return self.records[entrant.name].get("rungs", [])

    def _key(self, entrant: Entrant, rung: int) -> tuple[float, float]:
        """Sorts entrants after a rung: the least loss first, of equals the most accurate; of int8 files the most accurate."""
        row = self._rows(entrant)[rung]
        return (-row["int8"], row["loss"]) if "int8" in row else (row["loss"], -row["accuracy"])

    def _cost(self, entrant: Entrant) -> tuple[int, int]:
        """(multiply-adds, params) of the network that is trained."""
        network, _ = self.course.start(entrant)
        spec = self.course.config.scaling.apply(network, self.course.input_shape(entrant), self.course.num_classes)
        cost = count_spec(spec)
        return cost.multiply_adds, cost.params

    # -- after the race

    def _result(self, ranked: Sequence[Entrant], stopped: str | None) -> RaceResult:
        winner = ranked[0]
        gains = [] if stopped else gains_of(self.course, ranked)
        scored = [one for one in self.entrants if one.score is not None and self._rows(one)]
        tau = None
        if len(scored) >= LEAST_FOR_TAU:
            accuracies = [self._rows(one)[0]["accuracy"] for one in scored]
            tau = {**kendall([float(one.score or 0) for one in scored], accuracies), "networks": len(scored)}
        return RaceResult(
            winner=winner.name,
            judge=self.course.settings.judge,
            goals=tuple(self.goals),
            steps_per_epoch=self.steps_per_epoch,
            entrants=tuple(self._row(one) for one in self.entrants),
            gains=tuple(gains),
            verdict=(*in_sentences(winner, gains, stopped), *self._still_learning(winner, stopped)),
            tau=tau,
            stopped=stopped,
            notes=tuple(self.notes),
        )

    def _still_learning(self, winner: Entrant, stopped: str | None) -> list[str]:
        """A sentence about too few epochs; nothing of trainings whose images are distorted, which count as harder."""
        images, history = self.course.images(winner), self.records[winner.name].get("history", [])
        if stopped or not history or getattr(images.train, "policy", None) is not None:
            return []
        return still_learning(history[-1].get("accuracy"), self._rows(winner)[-1]["accuracy"])

    def _row(self, entrant: Entrant) -> Row:
        record, (multiply_adds, params) = self.records[entrant.name], self.costs[entrant.name]
        return {
            "name": entrant.name,
            "kind": entrant.kind,
            "words": entrant.words,
            "architecture": entrant.choices,
            "input_size": entrant.input_size,
            "multiply_adds": multiply_adds,
            "params": params,
            "score": entrant.score,
            "rungs": record.get("rungs", []),
            "history": record.get("history", []),
            "dropped": self.dropped.get(entrant.name),
        }
