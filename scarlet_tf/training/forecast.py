"""Forecast: how long a training will take and whether its memory suffices, told by its own first steps."""

from __future__ import annotations

import collections
import logging
import math
import statistics
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import duration, gibibytes
from scarlet_tf.training import memory

logger = logging.getLogger("scarlet_tf")

# Steps that are timed: the median of five is not moved by two that something disturbed.
MEASURED_STEPS = 5
# An epoch's end is mentioned when it takes more than this share of the epoch.
NOTABLE_SHARE = 0.01


class Forecast(keras.callbacks.Callback):
    """Logs the time of the whole training and its memory after a few steps; refuses one whose memory will not fit.

    The steps are those of the training itself, from an epoch's second one on (the first starts the input, and traces), so
    what is trained is the same with and without a forecast. Before them, `on_rehearsal` tells the time by a few that the
    training loop tries; see its Run.

    Args:
        name: in front of the lines.
        steps_per_epoch, epochs: how long the training is.
        advice: what to do when memory does not suffice, in words.
        least_bytes: what a step surely needs of the host's memory; more than is available is refused before the first step.
        later_bytes: what will come on top of the first steps' peak, such as a checkpoint's copy.
        max_hours: the limit on the training's time, for the warning that it comes before the end.
        phase_of: the name of the phase that a step, counted from 0, is of, where steps differ; each phase is timed, and
            the forecast is made again with what was learnt.
        is_told: False leaves out the lines and the steps that are tried for them, but not the refusal.
        clock: seconds.

    Raises InputError, from within the training, when the memory will not suffice.
    """

    def __init__(
        self,
        name: str,
        steps_per_epoch: int,
        epochs: int,
        advice: str,
        least_bytes: int = 0,
        later_bytes: int = 0,
        max_hours: float | None = None,
        phase_of: Callable[[int], str] = lambda step: "",
        is_told: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self.name, self.steps_per_epoch, self.epochs = name, steps_per_epoch, epochs
        self.advice, self.least_bytes, self.later_bytes = advice, least_bytes, later_bytes
        self.max_hours, self.phase_of, self.clock = max_hours, phase_of, clock
        self.is_told, self._level = is_told, logging.INFO if is_told else logging.DEBUG
        self.seconds_per_step: dict[str, float] = {}
        self._measured: dict[str, list[float]] = {}
        self._counts: dict[str, int] = {}
        self._last: float | None = None
        self._epoch = self._ends = 0

    def on_train_begin(self, logs=None):
        reachable = memory.reachable_bytes()
        if self.least_bytes > reachable:
            raise InputError(
                f"{self.name}: a step needs at least {gibibytes(self.least_bytes)} of memory for its activations, expected"
                f" at most the {gibibytes(reachable)} available; use {self.advice}"
            )

    def on_rehearsal(self, first: float, seconds: float) -> None:
        """Tells the time of all steps by `seconds` of one that was tried; the `first` call took longer."""
        steps = self.steps_per_epoch * self.epochs
        logger.log(
            self._level,
            "%s forecast: %s for all %d epochs, %d steps of %.3g s (tried before the first)",
            self.name,
            duration(first + steps * seconds),
            self.epochs,
            steps,
            seconds,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._last = epoch, None

    def on_train_batch_end(self, batch, logs=None):
        phase = self.phase_of(self._epoch * self.steps_per_epoch + batch)
        if phase not in self.seconds_per_step and self._last is not None:
            measured = self._measured.setdefault(phase, [])
            measured.append(self.clock() - self._last)
            if len(measured) == MEASURED_STEPS:
                self.seconds_per_step[phase] = statistics.median(measured)
                self._tell_time(phase)
                self._tell_memory()
        self._last = self.clock()

    def on_epoch_end(self, epoch, logs=None):
        self._ends += 1
        if self._ends != 2 or self._last is None or not self.seconds_per_step:  # the first end traces
            return
        seconds = self.clock() - self._last
        if seconds > NOTABLE_SHARE * self._seconds() / self.epochs:
            one, all_of_them = duration(seconds), duration(seconds * self.epochs)
            logger.log(self._level, "%s forecast: %s after each epoch's steps, %s in all", self.name, one, all_of_them)

    def _seconds(self) -> float:
        """Seconds of all steps; those of a phase that was not timed yet are assumed to take the mean of the others."""
        if not self._counts:
            self._counts = collections.Counter(map(self.phase_of, range(self.steps_per_epoch * self.epochs)))
        timed = {phase: self._counts[phase] for phase in self.seconds_per_step}
        seconds = sum(count * self.seconds_per_step[phase] for phase, count in timed.items())
        return seconds / sum(timed.values()) * self.steps_per_epoch * self.epochs

    def _tell_time(self, phase: str) -> None:
        seconds = self._seconds()
        hours = seconds / 3600
        logger.log(
            self._level,
            "%s forecast: %s for all %d epochs, %d %ssteps of %.3g s%s (measured over %d)",
            self.name,
            duration(seconds),
            self.epochs,
            self._counts[phase],
            phase and f"{phase} ",
            self.seconds_per_step[phase],
            " among them" if len(self._counts) > 1 else "",
            MEASURED_STEPS,
        )
        if self.max_hours is not None and hours > self.max_hours:
            logger.warning(
                "%s: the limit of %g h will come after about %.1f of %d epochs, and the learning rate's schedule will"
                " not reach its end; fewer epochs would let it",
                self.name,
                self.max_hours,
                self.max_hours / hours * self.epochs,
                self.epochs,
            )

    def _tell_memory(self) -> None:
        peak, limit, gpu = memory.peak_bytes(), memory.limit_bytes(), memory.gpu_peak_bytes()
        needed = peak + self.later_bytes
        logger.log(
            self._level,
            "%s forecast: %s of the %s of memory available%s",
            self.name,
            gibibytes(needed),
            gibibytes(limit),
            "" if gpu is None else f", {gibibytes(gpu)} of a GPU's",
        )
        if needed > limit:
            raise InputError(
                f"{self.name}: {gibibytes(needed)} of memory are needed ({gibibytes(peak)} by the first steps), expected at"
                f" most the {gibibytes(limit)} available; use {self.advice}"
            )
        # Only a warning: the first steps had room, so the others may give it up again.
        reachable = memory.reachable_bytes()
        if needed > reachable:
            logger.warning(
                "%s: other processes leave %s of memory at the moment, %s may be needed; if it runs short use %s",
                self.name,
                gibibytes(reachable),
                gibibytes(needed),
                self.advice,
            )


# -- Deadline: ends a training in time, after its last whole epoch that fits --------------------------------------


REASON = "max_hours"
# Of the time given, for the last checkpoint and what is measured after the last step.
RESERVED_SHARE = 0.02


class Deadline(keras.callbacks.Callback):
    """Asks for an end in time; the hours count from the moment this object is made, so a resumed training has all of them again.

    An epoch is begun only if one like the last would fit. The epoch that turns out not to fit, such as the first of all,
    ends after its last step in time. The learning rate's schedule is not rescaled: it was laid out for all epochs, and a
    training that is ended early has not been through its low rates. A training ended so is over: started again it is not
    continued, so that the stages that follow see one supernet.

    Args:
        name: in front of the line.
        max_hours: the limit; None sets none.
        steps_per_epoch, epochs: how long the training would be.
        strategy: several workers are refused, for their clocks would not stop them at the same step.
        clock: seconds.

    `reason()` is {"stopped": "max_hours"} when the training was ended, else {}. Raises InputError for a bad limit.
    """

    def __init__(
        self,
        name: str,
        max_hours: float | None,
        steps_per_epoch: int,
        epochs: int,
        strategy: tf.distribute.Strategy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        _check(max_hours, strategy)
        self.name, self.steps_per_epoch, self.epochs, self.clock = name, steps_per_epoch, epochs, clock
        self.ended = False
        seconds = math.inf if max_hours is None else 3600 * max_hours
        self._end = clock() + seconds * (1 - RESERVED_SHARE)
        # Seconds: when the epoch was entered, and when its first and its last step ended.
        self._entered, self._begun = clock(), clock()
        self._last: float | None = None
        self._steps = 0
        self._slowest = 0.0

    def reason(self) -> dict:
        return {"stopped": REASON} if self.ended else {}

    def on_epoch_begin(self, epoch, logs=None):
        self._entered, self._last = self.clock(), None
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        now = self.clock()
        if self._last is None:  # the first step of an epoch starts the input, and the very first traces
            self._begun = now
        else:
            self._steps += 1
            self._slowest = max(self._slowest, now - self._last)
        self._last = now
        if batch + 1 < self.steps_per_epoch and now + self._slowest > self._end:
            self._stop(f"after step {batch + 1} of {self.steps_per_epoch} of an epoch that does not fit")

    def on_epoch_end(self, epoch, logs=None):
        now = self.clock()
        if self.ended or epoch + 1 >= self.epochs:
            return
        seconds = now - self._entered
        if self._steps and self._last is not None:
            # Without the first step, and of a resumed epoch, which had only a part left, the whole.
            seconds = (self._last - self._begun) / self._steps * self.steps_per_epoch + (now - self._last)
        if now + seconds > self._end:
            self._stop(f"after epoch {epoch + 1} of {self.epochs}: another one would not fit")

    def _stop(self, where: str) -> None:
        self.ended = True
        self.model.stop_training = True
        logger.info("%s: ended by the limit on its hours, %s", self.name, where)


def closing_figures(history: list[dict], steps_per_epoch: int) -> dict:
    """{"steps"} from a history, and what its last row says of the end.

    "stopped": why not all steps were done, if a limit ended them; "not_learning": see Learning.
    """
    steps = sum(row.get("steps", steps_per_epoch) for row in history)
    last = history[-1] if history else {}
    return {"steps": steps} | {key: last[key] for key in ("stopped", "not_learning") if key in last}


def _check(max_hours, strategy) -> None:
    if max_hours is None:
        return
    number = isinstance(max_hours, (int, float)) and not isinstance(max_hours, bool)
    if not number or not math.isfinite(max_hours) or max_hours <= 0:
        raise InputError(f"max_hours: expected a number > 0, got {max_hours!r}")
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise InputError(f"max_hours: expected none with several workers, whose clocks differ, got {max_hours!r}")
