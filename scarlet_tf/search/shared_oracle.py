"""SharedOracle: a journalled oracle whose trials several workers run, some of which may be lost."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping

from keras_tuner.engine.trial import Trial, TrialStatus

from scarlet_tf.errors import InputError
from scarlet_tf.search.identity import IDENTITY
from scarlet_tf.search.journalled_oracle import JournalledOracle
from scarlet_tf.search.locking import locked
from scarlet_tf.search.secret import FILE, opened
from scarlet_tf.search.trials import REASON

logger = logging.getLogger("scarlet_tf")


class SharedOracle(JournalledOracle):
    """Takes trials back from workers that do not answer, and tells workers which search this is.

    A trial that was taken back may be run twice. What an architecture scores does not depend on who evaluates it, so
    the first answer is taken, whoever gives it, and the other one ignored.

    Args:
        stale_trial_seconds: how long a worker may have a trial before the next one that asks gets it, too; None: for
            ever.
    """

    def __init__(self, *args, stale_trial_seconds: float | None = None, **options):
        super().__init__(*args, **options)
        if stale_trial_seconds is not None and not 0 < stale_trial_seconds < math.inf:
            raise InputError(f"stale_trial_seconds: expected a number > 0 or None, got {stale_trial_seconds!r}")
        self.stale_trial_seconds = stale_trial_seconds
        self.identity: Mapping | None = None  # what a worker's search has to equal, see identity.py
        self.secret: str | None = None  # on a chief: what identifiers have to carry, see secret.py
        self._strangers_came = False

    @locked
    def create_trial(self, tuner_id):
        """Like JournalledOracle's, after taking back trials without a result."""
        tuner_id = self._admitted(tuner_id)
        self._take_back_stale(asking=tuner_id)
        return super().create_trial(tuner_id)

    def update_trial(self, trial_id, metrics, step=0):
        """As JournalledOracle's."""
        return super().update_trial(self._admitted(trial_id), metrics, step)

    def get_trial(self, trial_id):
        """As JournalledOracle's."""
        return super().get_trial(self._admitted(trial_id))

    def end_trial(self, trial=None, status=TrialStatus.COMPLETED, *, trial_id=None):
        """As JournalledOracle's."""
        if isinstance(trial, Trial):
            trial.trial_id = self._admitted(trial.trial_id)
            super().end_trial(trial)
        else:
            super().end_trial(trial_id=self._admitted(trial_id if trial is None else trial), status=status)

    def _admitted(self, identifier: str) -> str:
        """The identifier without the secret; InputError for a stranger's."""
        if self.secret is None:
            return identifier
        try:
            return opened(identifier, self.secret)
        except InputError:
            if not self._strangers_came:  # said once, for the log must not grow by what strangers do
                logger.warning("the search's service refuses requests without the search's secret, see search/%s", FILE)
            self._strangers_came = True
            raise

    @locked
    def give_up(self, tuner_id: str) -> None:
        """Expects nothing more of `tuner_id`: the trial it has in hand is the next to be handed out."""
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        in_hand = [other.trial_id for other in self.ongoing_trials.values()]
        if trial is not None and trial.trial_id not in in_hand:
            logger.warning("trial %s is taken back from %s", trial.trial_id, tuner_id)
            self._generations.repeat(trial.trial_id)

    @locked
    def is_over(self) -> bool:
        """True if nothing is left to hand out, at the search's end or after `failure`; needs no request by a worker."""
        self._open()
        return self._refill() == TrialStatus.STOPPED

    @locked
    def dismiss(self) -> None:
        """Expects nothing more of anybody: KerasTuner's chief ends when it waits for nobody."""
        self.tuner_ids.clear()
        self.ongoing_trials.clear()

    def get_space(self):
        """A copy of the hyperparameters; on a chief, with its search's identity as a fixed one."""
        space = super().get_space()
        if self.identity is not None:
            space.Fixed(IDENTITY, json.dumps(self.identity))
        return space

    def _message(self, trial) -> str | None:
        """The reason of a failure may come as a hyperparameter value from another process."""
        return trial.message or trial.hyperparameters.values.get(REASON)

    def _take_back_stale(self, asking: str) -> None:
        if self.stale_trial_seconds is None:
            return
        limit = time.monotonic() - self.stale_trial_seconds
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if tuner_id != asking and self._started[trial.trial_id] < limit:
                logger.warning("%s has not answered for %g s", tuner_id, self.stale_trial_seconds)
                self.give_up(tuner_id)
