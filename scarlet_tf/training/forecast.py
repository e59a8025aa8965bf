"""Forecast: how long a training will take and whether its memory suffices, told by its own first steps."""

from __future__ import annotations

import collections
import logging
import statistics
import time
from collections.abc import Callable

import keras

from scarlet_tf.errors import InputError
from scarlet_tf.progress import duration
from scarlet_tf.training import memory
from scarlet_tf.words import gibibytes

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
        least_bytes: what a step surely needs of the host's memory; more than can be had is refused before the first step.
        later_bytes: what will come on top of the first steps' peak, such as a checkpoint's copy.
        max_hours: the limit on the training's time, for the warning that it comes before the end.
        phase_of: the name of the phase that a step, counted from 0, is of, where steps differ; each phase is timed, and
            the forecast is made again with what was learnt.
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
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self.name, self.steps_per_epoch, self.epochs = name, steps_per_epoch, epochs
        self.advice, self.least_bytes, self.later_bytes = advice, least_bytes, later_bytes
        self.max_hours, self.phase_of, self.clock = max_hours, phase_of, clock
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
                f" at most the {gibibytes(reachable)} that can be had; use {self.advice}"
            )

    def on_rehearsal(self, first: float, seconds: float) -> None:
        """Tells the time of all steps by `seconds` of one that was tried; the `first` call took longer."""
        steps = self.steps_per_epoch * self.epochs
        logger.info(
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
            behind, all_of_them = duration(seconds), duration(seconds * self.epochs)
            logger.info("%s forecast: %s behind each epoch's steps, %s in all", self.name, behind, all_of_them)

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
        logger.info(
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
        logger.info(
            "%s forecast: %s of the %s of memory that can be had%s",
            self.name,
            gibibytes(needed),
            gibibytes(limit),
            "" if gpu is None else f", {gibibytes(gpu)} of a GPU's",
        )
        if needed > limit:
            raise InputError(
                f"{self.name}: {gibibytes(needed)} of memory are needed ({gibibytes(peak)} by the first steps), expected at"
                f" most the {gibibytes(limit)} that can be had; use {self.advice}"
            )
        # Only a warning: the first steps had room, so the others may give it up again.
        reachable = memory.reachable_bytes()
        if needed > reachable:
            logger.warning(
                "%s: other processes leave %s of memory at the moment, %s may be needed; in want of it use %s",
                self.name,
                gibibytes(reachable),
                gibibytes(needed),
                self.advice,
            )
