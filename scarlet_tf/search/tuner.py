"""SupernetTuner: evaluates a search's trials on one shared supernet."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.errors import FailedTrialError, FatalError, FatalRuntimeError

from scarlet_tf.base.cluster import is_loopback, search_address, search_role
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.progress import Bar, progress_bar
from scarlet_tf.search.groups import Grouping
from scarlet_tf.search.keras_tuner_search import hosted
from scarlet_tf.search.objectives import BadMetrics, checked_accuracy
from scarlet_tf.search.oracle import ArchitectureOracle
from scarlet_tf.search.trials import GROUP, REASON, group_of
from scarlet_tf.search.workers import (
    PatientClient,
    check_identity,
    chiefs_secret,
    digest,
    identity,
    workers_secret,
)
from scarlet_tf.space.search_space import Architecture

logger = logging.getLogger("scarlet_tf")
POLL_SECONDS = 0.2  # of a chief
FAREWELL_SECONDS = 10.0  # for workers to hear of the end; an idle one asks every 2 seconds
LAST_ANSWERS_SECONDS = 600.0  # for those that have a model in hand when the time is up
ROUND_SECONDS = 2.0  # of KerasTuner's service, in which it notices that it is not needed any more
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between two requests of an idle worker


class SupernetTuner(BaseTuner):
    """Runs an oracle's trials with one Evaluator; no model is built and no checkpoint kept for a trial.

    `tuner.search(validation_data)` runs to the end of the search, or resumes where an earlier process stopped: the
    oracle's journal in `directory`/`project_name` decides, and no file of the tuner's own is needed. With
    KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT set it is the chief or a worker, as with
    every KerasTuner tuner. A worker whose oracle or supernet differs from the chief's is refused with InputError; one
    whose chief was killed waits for its restart.

    Args:
        oracle: a WeightedNSGA2Oracle, or any other of KerasTuner's whose hyperparameters are `layer_00`, `layer_01`, ...
            and whose objective is the accuracy. The latter needs max_trials and a seed; it is then one part of
            `tuner.oracle`, which keeps the journal and knows the front (see KerasTunerSearch).
        supernet: a trained Supernet; may be None when `evaluator` is given.
        directory, project_name: where the journal lives.
        evaluator: an object whose `evaluate(choices)` takes a tuple of choice indices and returns
            {"accuracy": 0..1, ...}. If it has `begin_generation(architectures)`, that is called with the tuples still
            to be evaluated before the first of a generation is, or on a worker of the group that it was handed;
            `num_ready`, if it has that, says how many of them it will answer at once. By default an Evaluator is made
            of the supernet and the data given to `search`.
        recalibration_data: training images for the default Evaluator's BN recalibration.
        evaluator_options: further keyword arguments of the default Evaluator.
        max_multiply_adds: the budget for an oracle that has none.
        overwrite: delete an earlier search in the folder; refused on a worker, where it would delete the chief's.
    """

    oracle: Any  # an ArchitectureOracle; on a worker a PatientClient, which passes calls on to the chief's

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        supernet=None,
        directory=None,
        project_name=None,
        evaluator=None,
        recalibration_data=None,
        evaluator_options=None,
        overwrite: bool = False,
        max_multiply_adds: float | None = None,
    ):
        if not isinstance(oracle, ArchitectureOracle):
            oracle = hosted(oracle, supernet, max_multiply_adds)
        elif max_multiply_adds is not None:
            raise InputError(f"max_multiply_adds: expected the oracle's own, got {max_multiply_adds!r} beside it")
        self._role = search_role()
        if overwrite and self._is_worker:
            raise InputError("overwrite: expected False on a worker, got True; it would delete the chief's search")
        self.supernet, self.evaluator = supernet, evaluator
        self._recalibration_data = recalibration_data
        self._evaluator_options = dict(evaluator_options or {})
        self._space = oracle.space
        self._told: int | None = None  # batches, when the evaluator was told last what comes
        self._bar: Bar | None = None
        self._pause = 0.0
        self._last_error: Exception | None = None
        self._failed: dict[str, tuple[str, str]] = {}  # status and reason of evaluations that failed, by trial id
        oracle.raise_failure = False  # `search` does, with the last evaluation's error
        super().__init__(oracle=oracle, directory=directory, project_name=project_name, overwrite=overwrite)
        if self._is_worker:
            self._identity = identity(oracle, supernet)
            self.oracle = PatientClient(self.oracle)
        else:
            self.oracle.reload()

    def search(self, validation_data=None, verbose: int = 0, max_hours: float | None = None) -> None:
        """Runs until the last generation is complete, or until `max_hours` have passed and `oracle.stopped` says so.

        A search that was stopped in time goes on with the next call; 0 hours evaluate nothing more. `verbose`: 1 prints
        each trial as KerasTuner does, on a chief or where there are no workers; with 0 there is the progress bar alone.
        Raises InputError and KerasTuner's FatalError that an evaluation raised, at once; RuntimeError with the last
        evaluation's error as its cause when too many trials in a row failed (the oracle's
        `max_consecutive_failed_trials`). A trial whose evaluation raises FailedTrialError is not run again.
        """
        if self._is_worker and max_hours is not None:
            raise InputError(f"max_hours: expected none on a worker, whose chief says when it ends, got {max_hours!r}")
        with contextlib.nullcontext() if self._is_worker else self.oracle.searching():
            self._make_evaluator(validation_data)
            self._search(verbose, max_hours)

    def _search(self, verbose: int, max_hours: float | None) -> None:
        try:
            if self._is_worker:
                self._work(verbose)
                return
            self.oracle.forget_failure()
            self.oracle.has_answers = lambda: bool(getattr(self.evaluator, "num_ready", 0))
            self.oracle.stop_after(math.inf if max_hours is None else 3600 * max_hours)
            with progress_bar("search", self.oracle.algorithm.total_evaluations, self.oracle.evaluations) as self._bar:
                if self._role == "chief":
                    self._lead(verbose)
                else:
                    super().search(verbose=verbose)
        except FatalError as error:
            if isinstance(error.__cause__, InputError):
                raise error.__cause__ from None
            raise
        finally:
            self._bar = None
        if self.oracle.failure is not None:
            raise RuntimeError(f"search: {self.oracle.failure}") from self._last_error

    def run_trial(self, trial, verbose: int = 0) -> dict:
        """{"accuracy": ...} of the trial's architecture, as the evaluator returns it."""
        self._announce(trial)
        try:
            metrics = dict(self.evaluator.evaluate(self._choices(trial)))
            checked_accuracy(metrics)
        except FatalError:
            raise
        except Exception as error:
            if isinstance(error, InputError) and not isinstance(error, BadMetrics):
                # No other architecture would do better: the data or the settings are at fault.
                raise FatalRuntimeError(str(error)) from error
            return self._fail(trial, error)
        return metrics

    def pre_create_trial(self) -> None:
        """Waits a little longer each time that the oracle had no trial to give."""
        if self._pause:
            time.sleep(self._pause)
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)

    def on_trial_begin(self, trial) -> None:
        self._pause = 0.0

    def on_trial_end(self, trial) -> None:
        failed = self._failed.pop(trial.trial_id, None)
        if failed is not None:
            trial.status, trial.message = failed
            if self._is_worker:
                trial.hyperparameters.values[REASON] = trial.message  # a message does not travel between processes
        self.oracle.end_trial(trial)
        if self._is_worker and trial.status != TrialStatus.COMPLETED:
            self.oracle.drop_group()
        if self._bar is not None and not getattr(self.evaluator, "num_ready", 0):
            self._show_progress()

    def results_summary(self, num_trials: int = 10) -> None:
        """Prints what KerasTuner does, the `num_trials` best trials, and then the Pareto front."""
        super().results_summary(num_trials)
        front = self.oracle.pareto_front()
        print(f"\nPareto front: {len(front)} models")
        for candidate in front:
            figures = ", ".join(f"{name}: {value:.6g}" for name, value in candidate.metrics.items())
            print(f"{candidate.architecture.to_string()}\n  {figures}")

    def save(self) -> None:
        """Nothing to do: the oracle's journal is all there is."""

    def load_model(self, trial):
        """The stand-alone network of a trial's architecture, with the supernet's weights.

        After `search` its batch normalisation is recalibrated as the evaluator's is; before, it has the supernet's statistics.
        """
        make = getattr(self.evaluator, "network", None)
        if make is not None:
            return make(self._choices(trial))
        if self.supernet is None:
            raise InputError("supernet: expected one, whose weights a trial's network has, got None")
        from scarlet_tf.models.supernet import extract  # imports TensorFlow

        return extract(self.supernet, Architecture(self._choices(trial), self.supernet.space))

    def get_best_models(self, num_models: int = 1) -> list:
        """The networks of the `num_models` best trials, best first; fewer where fewer were evaluated."""
        trials = self.oracle.get_best_trials(num_models)
        return [self.load_model(trial) for trial in trials if trial.status == TrialStatus.COMPLETED]

    def _choices(self, trial) -> tuple[int, ...]:
        values = trial.hyperparameters.values
        return tuple(int(values[f"layer_{i:02d}"]) for i in range(self._space.num_layers))

    @property
    def _is_worker(self) -> bool:
        return self._role == "worker"

    def _work(self, verbose: int) -> None:
        """Runs the chief's trials until it has no more."""
        space = self.oracle.get_space()  # waits for the chief, which makes the secret
        secret = workers_secret(self.project_dir)
        check_identity({**self._identity, "secret": digest(secret)}, space, "{}:{}".format(*search_address()))
        self.oracle.secret = secret
        super().search(verbose=verbose)

    def _lead(self, verbose: int) -> None:
        """Hands out trials to workers until the search is over."""
        self.oracle.secret = chiefs_secret(self.project_dir)
        self.oracle.grouping = Grouping(self.oracle.costs)
        self.oracle.identity = {**identity(self.oracle, self.supernet), "secret": digest(self.oracle.secret)}
        serve(self.oracle, lambda: super(SupernetTuner, self).search(verbose=verbose), self._show_progress)

    def _show_progress(self) -> None:
        assert self._bar is not None  # the search shows it
        done = self.oracle.evaluations - self._bar.done
        hypervolume = self.oracle.algorithm.hypervolume
        if done:
            self._bar.advance(done, **({"hypervolume": hypervolume[-1]} if hypervolume else {}))

    def _make_evaluator(self, validation_data) -> None:
        if self.evaluator is not None or self._role == "chief":
            return
        if self.supernet is None or validation_data is None:
            raise InputError("search: expected a supernet and validation data, or an evaluator")
        from scarlet_tf.evaluation.evaluator import Evaluator  # imports TensorFlow

        options = self._evaluator_options
        self.evaluator = Evaluator(
            self.supernet, validation_data, recalibration_data=self._recalibration_data, **options
        )

    def _fail(self, trial, error: Exception) -> dict:
        """Stands for the metrics of a failed evaluation, which `on_trial_end` reports as such.

        An exception that reaches KerasTuner would be printed with its traceback into the progress bar.
        """
        self._last_error = error
        status = TrialStatus.FAILED if isinstance(error, FailedTrialError) else TrialStatus.INVALID
        reason = f"{type(error).__name__}: {error}"
        self._failed[trial.trial_id] = status, reason
        # The oracle logs the reason, but in the chief's process the traceback is lost.
        level = logging.WARNING if self._is_worker else logging.DEBUG
        logger.log(level, "trial %s: %s", trial.trial_id, reason, exc_info=error)
        return {"accuracy": math.nan}

    def _announce(self, trial) -> None:
        """Tells the evaluator what comes with a trial: its generation, or on a worker the group that begins with it."""
        begin = getattr(self.evaluator, "begin_generation", None)
        if begin is None:
            return
        if self._is_worker:
            if GROUP in trial.hyperparameters.values:
                begin([self._choices(other) for other in group_of(trial)])
        elif self._told != len(self.oracle.hypervolume):
            self._told = len(self.oracle.hypervolume)
            begin(self.oracle.open_architectures())


def serve(oracle: ArchitectureOracle, service: Callable[[], None], progress: Callable[[], None]) -> None:
    """Run KerasTuner's blocking `service` of `oracle` until the search is over and its workers know, or are lost.

    The service alone would wait for ever for a worker that was lost, and otherwise looks every 20 seconds. `progress`
    is called several times a second.
    """
    host, port = search_address()
    if not is_loopback(host):
        logger.warning(
            "the search's service at %s:%d is not encrypted: whoever listens on its way learns the search's secret, and"
            " whoever reaches that port can keep it busy; open it to trusted hosts alone",
            host,
            port,
        )
    failures: list[Exception] = []
    thread = threading.Thread(target=_collect, args=(service, failures), name="search-service", daemon=True)
    thread.start()
    over_since = None
    while over_since is None or (_expects_workers(oracle) and time.monotonic() - over_since < _patience(oracle)):
        if failures:
            raise InputError(f"KERASTUNER_ORACLE_IP: could not serve at {host}:{port}: {failures[0]}") from failures[0]
        if over_since is None and oracle.is_over():
            over_since = time.monotonic()
        progress()
        time.sleep(POLL_SECONDS)
    oracle.dismiss()
    thread.join(ROUND_SECONDS)  # the last answers are on their way


def _patience(oracle: ArchitectureOracle) -> float:
    return LAST_ANSWERS_SECONDS if oracle.stopped and oracle.ongoing_trials else FAREWELL_SECONDS


def _expects_workers(oracle: ArchitectureOracle) -> bool:
    return bool(oracle.tuner_ids or oracle.ongoing_trials)


def _collect(service: Callable[[], None], failures: list[Exception]) -> None:
    try:
        service()
    except Exception as error:
        failures.append(error)
