"""Deadline: ends a training in time, behind its last whole epoch that fits."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from scarlet_tf.errors import InputError

logger = logging.getLogger("scarlet_tf")

REASON = "max_hours"
# Of the time given, for the last checkpoint and what is measured behind the last step.
RESERVED_SHARE = 0.02


class Deadline(keras.callbacks.Callback):
    """Asks for an end in time; the hours count from the moment this object is made, so a resumed training has them anew.

    An epoch is begun only if one like the last would fit. The epoch that turns out not to fit, such as the first of all,
    ends behind its last step in time. The learning rate's schedule is not rescaled: it was laid out for all epochs, and a
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
            self._stop(f"behind step {batch + 1} of {self.steps_per_epoch} of an epoch that does not fit")

    def on_epoch_end(self, epoch, logs=None):
        now = self.clock()
        if self.ended or epoch + 1 >= self.epochs:
            return
        seconds = now - self._entered
        if self._steps and self._last is not None:
            # Without the first step, and of a resumed epoch, which had only a part left, the whole.
            seconds = (self._last - self._begun) / self._steps * self.steps_per_epoch + (now - self._last)
        if now + seconds > self._end:
            self._stop(f"behind epoch {epoch + 1} of {self.epochs}: another one would not fit")

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
