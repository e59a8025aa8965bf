"""WeightedNSGA2Oracle: the search as a KerasTuner Oracle, one trial an architecture and one ask a generation."""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import logging
import math
import time
from collections.abc import Mapping, Sequence

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from scarlet_tf.cost import cost_table
from scarlet_tf.errors import InputError
from scarlet_tf.search.journal import Journal
from scarlet_tf.search.mutation import Mutation
from scarlet_tf.search.nsga2 import WeightedNSGA2, checked_accuracy, encode, non_dominated
from scarlet_tf.space import Architecture, SearchSpace

logger = logging.getLogger("scarlet_tf")
ID_DIGITS = 6  # of a trial's number; fixed, so that a longer search names its trials alike
OBJECTIVE = keras_tuner.Objective("accuracy", "max")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An evaluated architecture: one-shot accuracy (0 to 1), multiply-adds of one image, trainable parameters."""

    architecture: Architecture
    accuracy: float
    multiply_adds: int
    params: int

    def to_dict(self) -> dict:
        """Plain JSON types; the architecture is its canonical string."""
        return {
            "architecture": self.architecture.to_string(),
            "accuracy": self.accuracy,
            "multiply_adds": self.multiply_adds,
            "params": self.params,
        }


def _locked(method):
    """Like `keras_tuner.synchronized`, which does not let go of its lock when the method raises; this does."""

    @keras_tuner.synchronized
    def holding_the_lock(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs), None
        except BaseException as error:
            return None, error

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        value, error = holding_the_lock(self, *args, **kwargs)
        if error is not None:
            raise error
        return value

    return call


class WeightedNSGA2Oracle(keras_tuner.Oracle):
    """Constrained and weighted NSGA-II as a KerasTuner Oracle.

    A trial's hyperparameters `layer_00`, `layer_01`, ... are the choice indices of one architecture, its result
    {"accuracy": 0..1}. Costs are counted here. While the last trials of a generation run, further workers are told
    IDLE; after the last generation STOPPED. An architecture that comes again is not evaluated again, so there may be
    fewer trials than evaluations. A trial whose evaluation fails, or whose accuracy is missing or not a number from 0
    to 1, is run again up to `max_retries_per_trial` times; then it counts as infeasible for good and its generation
    goes on. After `max_consecutive_failed_trials` such trials in a row the search stops, `failure` says why, and
    those trials are not journalled: the same command runs them again once the cause is gone.

    Everything is kept in trials.jsonl and state.json of the project's folder (see journal.py), loaded on first use.
    They belong to this space, budget, population, weights, floor, mutation, seed and `context` (any plain JSON, such
    as a checkpoint's hash); another search's files are refused with InputError. `generations` alone may change: a
    finished search goes on when it is raised.

    Args:
        space: the SearchSpace.
        weights: of accuracy, multiply-adds and params in the crowding distance.
        max_multiply_adds: every candidate costs less than this.
        min_accuracy: candidates have to exceed it; None for no floor.
        seed: an integer >= 0.
        input_size: pixels that costs are counted at; the space's own by default.
        num_classes: classes that costs are counted with.
        mutation: a Mutation; UniformMutation() by default.

    Raises InputError for settings out of range and for a budget that no network of the space meets.
    """

    def __init__(
        self,
        space: SearchSpace,
        population_size: int = 70,
        generations: int = 120,
        weights: Sequence[float] = (0.4, 0.4, 0.2),
        max_multiply_adds: float = 500e6,
        min_accuracy: float | None = None,
        seed: int = 0,
        input_size: int | None = None,
        num_classes: int = 1000,
        mutation: Mutation | None = None,
        context: Mapping | str | None = None,
        max_retries_per_trial: int = 1,
        max_consecutive_failed_trials: int = 3,
    ):
        self.space, self.context = space, context
        self.costs = cost_table(space, input_size or space.input_size, num_classes)
        self.algorithm = WeightedNSGA2(
            self.costs, population_size, generations, weights, max_multiply_adds, min_accuracy, mutation, seed
        )
        self._names = [f"layer_{i:02d}" for i in range(space.num_layers)]
        hyperparameters = keras_tuner.HyperParameters()
        for name in self._names:
            hyperparameters.Choice(name, list(range(space.num_choices)), ordered=False)
        super().__init__(
            objective=OBJECTIVE,
            max_trials=self.algorithm.total_evaluations,
            hyperparameters=hyperparameters,
            allow_new_entries=False,
            tune_new_entries=False,
            seed=seed,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        self.seed = seed  # the base class takes 0 for "none given" and draws one
        self.verbose = 0
        self.failure: str | None = None
        self._journal: Journal | None = None
        self._results: dict[str, dict | None] = {}  # by canonical string; None: failed for good
        self._trial_of: dict[str, str] = {}  # canonical string -> id of the trial that gave its result
        self._tasks: dict[str, str] = {}  # trial id -> canonical string, of the present generation
        self._first_trial = 0  # number of the first trial of the present generation
        self._queue: collections.deque[str] = collections.deque()
        self._reported: dict[str, dict] = {}
        self._started: dict[str, float] = {}
        self._finished: set[str] = set()
        self._unwritten: list[dict] = []  # failures in a row, of which none is journalled before a success

    # -- what a search reads --------------------------------------------------------------------------------

    @property
    def hypervolume(self) -> list[float]:
        """One value a tell, of the population's first front: 0..1 of the box that WeightedNSGA2 documents."""
        return list(self.algorithm.hypervolume)

    @property
    def evaluations(self) -> int:
        """Individuals scored so far, those of the present generation included and repeats counted."""
        done = sum(line in self._results for line in self._pending())
        return self.algorithm.evaluations + done

    @_locked
    def evaluated(self) -> list[Candidate]:
        """Every architecture that was evaluated, in the order of evaluation; failed ones are left out."""
        self._open()
        return [self._candidate(line, result) for line, result in self._results.items() if result is not None]

    def pareto_front(self) -> list[Candidate]:
        """The non-dominated among all evaluated architectures above the floor, by rising multiply-adds.

        That contains every non-dominated model which the population, being of fixed size, had to let go.
        """
        floor = self.algorithm.min_accuracy
        candidates = [c for c in self.evaluated() if floor is None or c.accuracy > floor]
        if not candidates:
            return []
        front = [candidates[i] for i in non_dominated(objectives(candidates))]
        return sorted(front, key=lambda c: (c.multiply_adds, -c.accuracy, -c.params, c.architecture.choices))

    @_locked
    def open_architectures(self) -> list[tuple[int, ...]]:
        """Choices of the present generation's architectures that have no result yet, in the order of their trials."""
        self._open()
        return [_choices(line) for line in self._tasks.values() if line not in self._results]

    def remaining_trials(self) -> int:
        return self.algorithm.total_evaluations - self.evaluations

    # -- KerasTuner's protocol ------------------------------------------------------------------------------

    @_locked
    def create_trial(self, tuner_id):
        """The trial that `tuner_id` has in hand, one to run again, or the next; or an empty IDLE or STOPPED one."""
        self._open()
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        self.tuner_ids.add(tuner_id)
        status = self._refill()
        if status != TrialStatus.RUNNING:
            if status == TrialStatus.STOPPED:
                self.tuner_ids.discard(tuner_id)
            return Trial(self._hyperparameters({}), trial_id="", status=status)
        trial = self._trial(self._queue.popleft())
        # Without this, KerasTuner takes the metrics of a failed attempt for those of the next one.
        trial.metrics = Trial(trial.hyperparameters).metrics
        trial.status, trial.message = TrialStatus.RUNNING, None
        self._started[trial.trial_id] = time.monotonic()
        self.ongoing_trials[tuner_id] = trial
        return trial

    def populate_space(self, trial_id):
        """The values of a trial of the present generation, which fixes its trials when it is asked for."""
        if trial_id not in self._tasks:
            return {"status": TrialStatus.STOPPED, "values": {}}
        genome = _choices(self._tasks[trial_id])
        return {"status": TrialStatus.RUNNING, "values": dict(zip(self._names, genome, strict=True))}

    @_locked
    def update_trial(self, trial_id, metrics, step=0):
        """Takes a running trial's metrics; a later report replaces an earlier one."""
        self._open()
        trial = self._trial(trial_id)
        if trial_id not in self._finished:
            self._reported[trial_id] = {name: float(value) for name, value in metrics.items()}
            trial.metrics = Trial(trial.hyperparameters).metrics
            _register(trial, {k: v for k, v in self._reported[trial_id].items() if math.isfinite(v)}, step)
        return trial

    @_locked
    def end_trial(self, trial):
        """Ends a trial, or hands it out again; ending a trial that has ended changes nothing."""
        self._open()
        trial_id, status, message = trial.trial_id, trial.status, trial.message
        trial = self._trial(trial_id)
        if trial_id not in self._finished:
            trial.status, trial.message = status, message
            self._end(trial)
        for tuner_id, ongoing in list(self.ongoing_trials.items()):
            if ongoing.trial_id == trial_id:
                del self.ongoing_trials[tuner_id]

    @_locked
    def get_trial(self, trial_id):
        self._open()
        return self._trial(trial_id)

    def get_state(self) -> dict:
        """What state.json holds: the algorithm's state and the trials of the present generation."""
        return {
            "algorithm": self.algorithm.state_dict(),
            "first_trial": self._first_trial,
            "tasks": list(self._tasks.values()),
        }

    def set_state(self, state) -> None:
        self.algorithm.load_state_dict(state["algorithm"])
        self._number_tasks(state["first_trial"], state["tasks"])

    def save(self) -> None:
        """Nothing to do: every finished trial and every generation is on disk already."""

    @_locked
    def reload(self) -> None:
        """Loads the journal of the project's folder; without a call, the first trial does."""
        self._open()

    @_locked
    def forget_failure(self) -> None:
        """After `failure`: the trials that failed in a row may run again."""
        if self.failure is None:
            return
        for record in self._unwritten:
            trial_id = record["trial"]
            del self._results[record["architecture"]]
            self._finished.discard(trial_id)
            self.end_order.remove(trial_id)
            self._run_times[trial_id] = 0
            self._queue.append(trial_id)
        self._unwritten.clear()
        self.failure = None

    # -- one generation -------------------------------------------------------------------------------------

    def _refill(self) -> str:
        """Goes on to the next generation when this one is complete; says whether there is a trial to run."""
        while self.failure is None:
            if self._queue:
                return TrialStatus.RUNNING
            if any(line not in self._results for line in self._pending()):
                return TrialStatus.IDLE
            if self.algorithm.finished:
                return TrialStatus.STOPPED
            # A generation of nothing but known architectures is complete at once, hence the loop.
            self._advance()
        return TrialStatus.STOPPED

    def _advance(self) -> None:
        if self._tasks or len(self._pending()):
            self._write_failures()
            self.algorithm.tell([self._results[line] for line in self._pending()])
        self._begin_generation()
        self._journal.snapshot(self.get_state())

    def _begin_generation(self) -> None:
        first_trial = self._first_trial + len(self._tasks)
        fresh = []
        if not self.algorithm.finished:
            self.algorithm.ask()
            fresh = [line for line in dict.fromkeys(self._pending()) if not self._is_older(line, first_trial)]
        self._number_tasks(first_trial, fresh)

    def _is_older(self, line: str, first_trial: int) -> bool:
        """Whether an earlier generation's trial answers for `line`.

        Results of this very generation do not count: they are there when a journal is ahead of its snapshot, and
        the numbers of the trials have to come out as they did the first time.
        """
        return line in self._trial_of and int(self._trial_of[line]) < first_trial

    def _number_tasks(self, first_trial: int, lines: Sequence[str]) -> None:
        """Trial ids are fixed with the generation, so that a restarted search knows its workers' trials."""
        self._first_trial = first_trial
        self._tasks = {f"{first_trial + i:0{ID_DIGITS}d}": line for i, line in enumerate(lines)}
        self._queue.clear()
        self._queue.extend(trial_id for trial_id, line in self._tasks.items() if line not in self._results)

    def _pending(self) -> list[str]:
        pending = self.algorithm.pending
        return [] if pending is None else encode(pending)

    # -- one trial ------------------------------------------------------------------------------------------

    def _trial(self, trial_id: str) -> Trial:
        if trial_id not in self.trials:
            values = self.populate_space(trial_id)["values"]
            if not values:
                raise InputError(f"trial {trial_id!r}: expected one of this search, got an unknown one")
            self.trials[trial_id] = Trial(self._hyperparameters(values), trial_id=trial_id)
            self.start_order.append(trial_id)
        return self.trials[trial_id]

    def _hyperparameters(self, values: dict) -> keras_tuner.HyperParameters:
        """A shallow copy: all trials share one space, of which the stock Oracle makes a deep copy a trial."""
        hyperparameters = copy.copy(self.hyperparameters)
        hyperparameters.values = values
        return hyperparameters

    def _end(self, trial: Trial) -> None:
        trial_id = trial.trial_id
        metrics = self._reported.pop(trial_id, {})
        if trial.status == TrialStatus.COMPLETED:
            try:
                metrics["accuracy"] = checked_accuracy(metrics)
            except InputError as error:
                trial.status, trial.message = TrialStatus.INVALID, str(error)
        if trial_id in self._queue:  # a worker finished it for a chief that was killed and forgot it
            self._queue.remove(trial_id)
        if trial.status == TrialStatus.COMPLETED:
            self._complete(trial, metrics)
        else:
            self._fail(trial)

    def _complete(self, trial: Trial, metrics: dict) -> None:
        line = self._line(trial)
        multiply_adds, params = self.costs.count_one(_choices(line))
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        metrics |= {"multiply_adds": multiply_adds, "params": params}
        self._write_failures()
        self._journal.append(self._record(trial, line, metrics=metrics))
        _register(trial, {name: metrics[name] for name in metrics if not trial.metrics.exists(name)})
        trial.score, trial.best_step = metrics["accuracy"], 0
        self._finish(trial, line, metrics)

    def _fail(self, trial: Trial) -> None:
        trial_id, line = trial.trial_id, self._line(trial)
        reason = _last_line(trial.message) or "the worker's log says why"
        self._run_times[trial_id] += 1
        if trial.status != TrialStatus.FAILED and self._run_times[trial_id] <= self.max_retries_per_trial:
            logger.warning("trial %s (%s) failed and is run again: %s", trial_id, line, reason)
            # At once, so that a broken machine is noticed after a few trials, not after a generation.
            self._queue.appendleft(trial_id)
            return
        trial.status = TrialStatus.FAILED
        logger.warning("trial %s (%s) failed for good: %s", trial_id, line, reason)
        self._unwritten.append(self._record(trial, line, message=reason))
        self._finish(trial, line, None)
        if len(self._unwritten) >= self.max_consecutive_failed_trials:
            self.failure = f"{len(self._unwritten)} trials in a row failed; the last one, {trial_id} ({line}): {reason}"
            logger.error("the search stops: %s", self.failure)

    def _finish(self, trial: Trial, line: str, metrics: dict | None) -> None:
        self._results[line] = metrics
        self._trial_of[line] = trial.trial_id
        self._finished.add(trial.trial_id)
        self.end_order.append(trial.trial_id)

    def _record(self, trial: Trial, line: str, **details) -> dict:
        seconds = time.monotonic() - self._started.pop(trial.trial_id, time.monotonic())
        record = {"trial": trial.trial_id, "architecture": line, "status": trial.status}
        return record | details | {"seconds": round(seconds, 3)}

    def _write_failures(self) -> None:
        while self._unwritten:
            self._journal.append(self._unwritten[0])
            del self._unwritten[0]

    def _line(self, trial: Trial) -> str:
        return ",".join(str(trial.hyperparameters.values[name]) for name in self._names)

    def _candidate(self, line: str, result: Mapping) -> Candidate:
        architecture = Architecture(_choices(line), self.space)
        return Candidate(architecture, result["accuracy"], result["multiply_adds"], result["params"])

    # -- the journal ----------------------------------------------------------------------------------------

    def fingerprint(self) -> dict:
        """Plain JSON that names the search: files with another one are refused."""
        algorithm = self.algorithm
        return {
            "space": f"{self.space.name} {self.space.fingerprint}",
            "input_size": self.costs.input_size,
            "num_classes": self.costs.num_classes,
            "objective": f"{self.objective.direction} {self.objective.name}",
            "population_size": algorithm.population_size,
            "weights": list(algorithm.weights),
            "max_multiply_adds": algorithm.max_multiply_adds,
            "min_accuracy": algorithm.min_accuracy,
            "mutation": algorithm.mutation.get_config(),
            "seed": int(self.seed),
            "context": self.context,
        }

    def _open(self) -> None:
        """Loads the journal once, and begins the first generation where there is none."""
        if self._journal is not None:
            return
        journal = Journal(self._project_dir, self.fingerprint())
        state, records = journal.open()
        try:
            for record in records:
                self._restore(record)
            if state is not None:
                self.set_state(state)
                self._check_complete(journal, len(records))
        except InputError:
            journal.close()
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            journal.close()
            raise InputError(f"{journal.state_path}: could not be restored: {type(error).__name__}: {error}") from error
        self._journal = journal
        if state is None:
            self._begin_generation()
            journal.snapshot(self.get_state())

    def _check_complete(self, journal: Journal, num_records: int) -> None:
        if num_records < self._first_trial:
            raise InputError(
                f"{journal.trials_path}: expected the {self._first_trial} trials or more that {journal.state_path.name} "
                f"builds on, found {num_records}; restore the file, or move the folder away to search anew"
            )

    def _restore(self, record: Mapping) -> None:
        line, trial_id = record["architecture"], record["trial"]
        values = dict(zip(self._names, _choices(line), strict=True))
        trial = Trial(self._hyperparameters(values), trial_id=trial_id, status=record["status"])
        metrics = record.get("metrics")
        if metrics is not None:
            _register(trial, metrics)
            trial.score = metrics["accuracy"]
        trial.message = record.get("message")
        self.trials[trial_id] = trial
        self.start_order.append(trial_id)
        self._finish(trial, line, metrics)


def objectives(candidates: Sequence[Candidate]) -> np.ndarray:
    """(-accuracy, multiply_adds, -params) of each candidate, all to be minimised, as float [N, 3]."""
    return np.array([(-c.accuracy, c.multiply_adds, -c.params) for c in candidates], float).reshape(-1, 3)


def _register(trial: Trial, metrics: Mapping[str, float], step: int = 0) -> None:
    """Adds metrics to a trial with their direction given: KerasTuner would search Keras for it by name."""
    for name, value in metrics.items():
        direction = "max" if name in ("accuracy", "params") else "min"
        trial.metrics.register(name, direction)
        trial.metrics.metrics[name].update(float(value), step)


def _choices(line: str) -> tuple[int, ...]:
    return tuple(int(gene) for gene in line.split(","))


def _last_line(text: str | None) -> str:
    """A traceback's last line, which names the error."""
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else ""
