"""JournalledOracle: KerasTuner's protocol over generations of trials, all of them on disk at once."""

from __future__ import annotations

import abc
import contextlib
import logging
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from scarlet_tf.errors import InputError
from scarlet_tf.search.checks import BadMetrics
from scarlet_tf.search.failures import FailuresInARow
from scarlet_tf.search.generations import Generations
from scarlet_tf.search.journal import Journal
from scarlet_tf.search.locking import locked
from scarlet_tf.search.trials import TrialMaker, add_metrics, clear_metrics, report_metrics

logger = logging.getLogger("scarlet_tf")


class JournalledOracle(keras_tuner.Oracle, abc.ABC):
    """Hands out the tasks of `generations` as trials and journals what becomes of them.

    A subclass gives the `fingerprint` of its search and what can be counted of an architecture.
    """

    def __init__(self, make: TrialMaker, generations: Generations, max_consecutive_failed_trials: int, **options):
        super().__init__(
            hyperparameters=make.hyperparameters,
            allow_new_entries=False,
            tune_new_entries=False,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            **options,
        )
        self.verbose = 0
        self._make, self._generations = make, generations
        self._failures = FailuresInARow(max_consecutive_failed_trials)
        self._journal: Journal | None = None
        self._stop_at = math.inf  # of time.monotonic()
        self.stopped = False
        # Whether figures are there that a trial would only have to fetch: these are taken also when it is late.
        self.has_answers: Callable[[], bool] = lambda: False
        self._reported: dict[str, dict] = {}  # by id, of trials that have not ended
        self._started: dict[str, float] = {}
        self.raise_failure = True  # False: whoever runs the trials looks at `failure`

    @abc.abstractmethod
    def fingerprint(self) -> dict:
        """Plain JSON that names the search: files with another one are refused."""

    @abc.abstractmethod
    def _count(self, line: str) -> dict[str, int | float]:
        """Metrics of an architecture, given as its canonical string, that take no evaluation."""

    @abc.abstractmethod
    def _check(self, metrics: Mapping) -> dict[str, float]:
        """The metrics that an evaluation has to answer; BadMetrics where one is missing or bad."""

    @property
    def failure(self) -> str | None:
        """Why the search stopped before its end; None when it did not."""
        return self._failures.reason

    def stop_after(self, seconds: float) -> None:
        """Hands out no trial later than `seconds` from now, save those whose figures are there already.

        `stopped` says whether that ended the search. What an evaluator measures together is not cut short.

        Nothing is lost by it: another process, or another call, goes on.
        """
        self._stop_at, self.stopped = time.monotonic() + seconds, False

    def searching(self) -> contextlib.AbstractContextManager[None]:
        """A block in which no other thread of this process searches in the same folder; InputError where one does."""
        self._open()
        assert self._journal is not None
        return self._journal.searching()

    # -- KerasTuner's protocol ------------------------------------------------------------------------------

    @locked
    def create_trial(self, tuner_id):
        """The trial that `tuner_id` has in hand, one to run again, or the next; or an empty IDLE or STOPPED one."""
        self._open()
        if tuner_id not in self.ongoing_trials:
            status = self._refill()
            if status == TrialStatus.STOPPED:
                self.tuner_ids.discard(tuner_id)
            else:
                self.tuner_ids.add(tuner_id)
            if status != TrialStatus.RUNNING:
                return self._make.trial({}, trial_id="", status=status)
            self.ongoing_trials[tuner_id] = self._trial(self._generations.take())
            self._display.on_trial_begin(self.ongoing_trials[tuner_id])  # prints nothing unless `verbose`
        trial = self.ongoing_trials[tuner_id]
        # Without this, KerasTuner takes the metrics of an attempt that failed or was lost for those of the next one.
        clear_metrics(trial)
        trial.status, trial.message = TrialStatus.RUNNING, None
        self._started[trial.trial_id] = time.monotonic()
        return trial

    def populate_space(self, trial_id):
        """The values of a trial of the present generation, which fixes its trials when it is asked for."""
        if trial_id not in self._generations.tasks:
            return {"status": TrialStatus.STOPPED, "values": {}}
        return {"status": TrialStatus.RUNNING, "values": self._make.values(self._generations.tasks[trial_id])}

    @locked
    def update_trial(self, trial_id, metrics, step=0):
        """Takes a running trial's metrics; a later report replaces an earlier one. InputError where the objective is missing."""
        if self.objective.name not in metrics:
            raise InputError(f"metrics: expected the objective {self.objective.name}, got {sorted(metrics)}")
        self._open()
        trial = self._trial(trial_id)
        if trial_id not in self._generations.ended:
            self._reported[trial_id] = {name: float(value) for name, value in metrics.items()}
            report_metrics(trial, self._reported[trial_id], step)
        return trial

    @locked
    def end_trial(self, trial=None, status=TrialStatus.COMPLETED, *, trial_id=None):
        """Ends a trial, or hands it out again; ending a trial that has ended changes nothing.

        KerasTuner's older form will do, too: `end_trial(trial_id, status)`. Raises InputError when the journal cannot be
        written; the trial has not ended then and may be ended again. Raises RuntimeError for the last one of too many
        failures in a row, as KerasTuner's own oracles do, unless `raise_failure` is False.
        """
        self._open()
        if isinstance(trial, Trial):
            trial_id, status, message = trial.trial_id, trial.status, self._message(trial)
        else:
            trial_id, message = trial_id if trial is None else trial, None
        failed_before = self.failure is not None
        trial = self._trial(trial_id)
        if trial_id not in self._generations.ended:
            trial.status = TrialStatus.RUNNING  # until the journal has it
            self._end(trial, status, message)
        for tuner_id, ongoing in list(self.ongoing_trials.items()):
            if ongoing.trial_id == trial_id:
                del self.ongoing_trials[tuner_id]
        if trial_id in self._display.trial_start:  # it was shown when it began
            self._display.on_trial_end(trial)
        if self.failure is not None and not failed_before and self.raise_failure:
            raise RuntimeError(f"search: {self.failure}")

    @locked
    def get_trial(self, trial_id):
        self._open()
        return self._trial(trial_id)

    def get_state(self) -> dict:
        """Content of state.json: the algorithm's state and the trials of the present generation."""
        return self._generations.state_dict()

    def set_state(self, state) -> None:
        self._generations.load_state_dict(state)

    def save(self) -> None:
        """Nothing to do: every finished trial and every generation is on disk already."""

    @locked
    def reload(self) -> None:
        """Loads the journal of the project's folder; without a call, the first trial does."""
        self._open()

    @locked
    def forget_failure(self) -> None:
        """After `failure`: the trials that failed in a row may run again."""
        if self.failure is None:
            return
        for record in self._failures.forget():
            self._generations.reopen(record["trial"])
            self.end_order.remove(record["trial"])
            self._run_times[record["trial"]] = 0

    # -- trials and generations -----------------------------------------------------------------------------

    def _refill(self) -> str:
        """Goes on to the next generation when this one is complete; says whether there is a trial to run."""
        assert self._journal is not None  # `_open` comes first
        while self.failure is None and not self._is_late():
            if self._generations.queue:
                return TrialStatus.RUNNING
            if not self._generations.complete:
                return TrialStatus.IDLE
            if self._generations.finished:
                self._journal.close()  # lets other processes into the folder
                return TrialStatus.STOPPED
            # A generation of nothing but known architectures is complete at once, hence the loop.
            self._failures.write(self._journal.append)
            self._generations.advance()
            self._journal.snapshot(self.get_state())
        return TrialStatus.STOPPED

    def _is_late(self) -> bool:
        done = self._generations.finished and self._generations.complete
        late = time.monotonic() >= self._stop_at and not self.has_answers()
        self.stopped = self.stopped or (late and not done)
        return self.stopped

    def _trial(self, trial_id: str) -> Trial:
        if trial_id not in self.trials:
            values = self.populate_space(trial_id)["values"]
            if not values:
                raise InputError(f"trial {trial_id!r}: expected one of this search, got an unknown one")
            self.trials[trial_id] = self._make.trial(values, trial_id)
            self.start_order.append(trial_id)
        return self.trials[trial_id]

    # -- the end of a trial ---------------------------------------------------------------------------------

    def _end(self, trial: Trial, status: str, message: str | None) -> None:
        metrics = dict(self._reported.get(trial.trial_id, {}))
        if status == TrialStatus.COMPLETED:
            try:
                metrics |= self._check(metrics)
            except BadMetrics as error:
                status, message = TrialStatus.INVALID, str(error)
        if status == TrialStatus.COMPLETED:
            self._complete(trial, metrics)
        else:
            self._fail(trial, status, message)

    def _complete(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        assert self._journal is not None  # `_open` comes first
        line = self._make.line(trial)
        result = {name: value for name, value in metrics.items() if math.isfinite(value)} | self._count(line)
        self._failures.write(self._journal.append)
        self._journal.append(self._record(trial, line, TrialStatus.COMPLETED, metrics=result))
        self._failures.success()
        trial.status = TrialStatus.COMPLETED
        self._finish(trial, line, result)

    def _fail(self, trial: Trial, status: str, message: str | None) -> None:
        trial_id, line = trial.trial_id, self._make.line(trial)
        reason = _last_line(message) or "the worker's log says why"
        self._reported.pop(trial_id, None)
        self._run_times[trial_id] += 1
        if status != TrialStatus.FAILED and self._run_times[trial_id] <= self.max_retries_per_trial:
            trial.status, trial.message = status, message
            logger.warning("trial %s (%s) failed and is run again: %s", trial_id, line, reason)
            # At once, so that a broken machine is noticed after a few trials, not after a generation.
            self._generations.repeat(trial_id)
            return
        trial.status, trial.message = TrialStatus.FAILED, message
        logger.warning("trial %s (%s) failed for good: %s", trial_id, line, reason)
        record = self._record(trial, line, TrialStatus.FAILED, message=reason)
        self._failures.add(record, f"{trial_id} ({line}): {reason}")
        self._finish(trial, line, None)
        if self.failure is not None:
            logger.error("the search stops: %s", self.failure)

    def _finish(self, trial: Trial, line: str, result: dict | None) -> None:
        """Finish a trial that ended in this process or in an earlier one."""
        if result is not None:
            add_metrics(trial, result)
            trial.score, trial.best_step = result["accuracy"], 0
        self._generations.end(trial.trial_id, line, result)
        self.end_order.append(trial.trial_id)
        self._reported.pop(trial.trial_id, None)
        self._started.pop(trial.trial_id, None)

    def _message(self, trial: Trial) -> str | None:
        """The reason of a trial's failure, as its worker states it."""
        return trial.message

    def _record(self, trial: Trial, line: str, status: str, **details) -> dict:
        now = time.monotonic()
        seconds = round(now - self._started.get(trial.trial_id, now), 3)
        return {"trial": trial.trial_id, "architecture": line, "status": status} | details | {"seconds": seconds}

    # -- the journal ----------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Loads the journal once, and begins the first generation where there is none."""
        if self._journal is not None:
            return
        journal = Journal(self._project_dir, self.fingerprint())
        state, records = journal.open()
        try:
            self._load(journal, state, records)
        except InputError:
            journal.close()
            raise
        self._journal = journal
        if state is None:
            self._generations.advance()
            # Of a search whose snapshot was lost, the lines say what every generation was told.
            while self._generations.complete and not self._generations.finished:
                self._generations.advance()
            journal.snapshot(self.get_state())

    def _load(self, journal: Journal, state: Mapping | None, records: list[dict]) -> None:
        with _restoring(journal.trials_path):
            for record in records:
                self._restore(record)
        if state is None:
            return
        with _restoring(journal.state_path):
            self.set_state(state)
        if lost := self._generations.lost:
            raise InputError(
                f"{journal.trials_path}: expected the first {self._generations.first_task} trials, which "
                f"{journal.state_path.name} builds on, {lost} are missing; restore the file, or move "
                "the folder away to search anew"
            )

    def _restore(self, record: Mapping) -> None:
        line, trial_id = record["architecture"], record["trial"]
        if trial_id in self._generations.ended:
            return
        metrics = record.get("metrics")
        if metrics is not None:
            self._check(metrics)
        trial = self._make.trial(self._make.values(line), trial_id, record["status"])
        trial.message = record.get("message")
        self.trials[trial_id] = trial
        self.start_order.append(trial_id)
        self._finish(trial, line, metrics)


@contextlib.contextmanager
def _restoring(path: pathlib.Path) -> Iterator[None]:
    """InputError that names the file whose content is not what it should be."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: could not be restored: {type(error).__name__}: {error}") from error


def _last_line(text: str | None) -> str:
    """A traceback's last line, which names the error."""
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else ""
