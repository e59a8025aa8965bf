"""A search as a KerasTuner Oracle: a thin shell around Engine, which several workers may share."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import Algorithm, check_settings, decode, draws_of
from scarlet_tf.search.config import MutationConfig
from scarlet_tf.search.engine import Engine
from scarlet_tf.search.front import Candidate, front_of
from scarlet_tf.search.groups import Grouping
from scarlet_tf.search.journal import EVALUATION, EVALUATION_KEY, TRIALS, Journal
from scarlet_tf.search.mutation import Mutation
from scarlet_tf.search.nsga2 import WeightedNSGA2
from scarlet_tf.search.objectives import BadMetrics, score_of
from scarlet_tf.search.trials import (
    REASON,
    TrialMaker,
    add_metrics,
    clear_metrics,
    locked,
    report_metrics,
    with_group,
)
from scarlet_tf.search.workers import IDENTITY, SECRET, opened
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.metric_table import MetricTable
from scarlet_tf.space.search_space import Architecture, SearchSpace

logger = logging.getLogger("scarlet_tf")
OBJECTIVE = keras_tuner.Objective("accuracy", "max")
AT_FIRST = 32  # workers that groups are cut for until the first of them answers: by then all that are there have asked
STALE_FACTOR, LEAST_STALE_SECONDS = 10, 600.0  # see `stale_trial_seconds` [reading]


class ArchitectureOracle(keras_tuner.Oracle):
    """Any search of architectures as a KerasTuner Oracle.

    A trial's hyperparameters `layer_00`, `layer_01`, ... are the choice indices of one architecture, its result
    {"accuracy": 0..1}. Costs are counted here. While the last trials of a generation run, further workers are told
    IDLE; after the last generation STOPPED. An architecture that comes again is not evaluated again, so there may be
    fewer trials than evaluations. A trial whose evaluation fails, or whose accuracy is missing or not a number from 0
    to 1, is run again up to `max_retries_per_trial` times; then it counts as infeasible for good and its generation
    goes on. After `max_consecutive_failed_trials` such trials in a row the search stops, `failure` says why, and
    those of the present generation are not journalled: the same command runs them again once the cause is gone.

    Everything is kept in trials.jsonl of the project's folder (see Engine and Journal), read on first use. It belongs to this
    space, seed, `context` (any plain JSON, such as a checkpoint's hash), to what the algorithm's `get_config` says and to the
    libraries that draw; another search's file is refused with InputError. A process keeps others out of the folder until its
    search has ended.

    A trial that was taken back from a worker may be run twice. What an architecture scores does not depend on who evaluates it,
    so the first answer is taken, whoever gives it, and the other one ignored.

    Args:
        algorithm: a new one.
        seed: the one that it was made with.
        stale_trial_seconds: what a worker has in hand and gave no answer of for so long is handed to the next that ask, too.
            None: for ten times as long as the slowest ones so far, by their number, and for ten minutes at least.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        seed: int = 0,
        context: Mapping | str | None = None,
        max_retries_per_trial: int = 1,
        max_consecutive_failed_trials: int = 3,
        stale_trial_seconds: float | None = None,
    ):
        self._make = TrialMaker(algorithm.space)
        super().__init__(
            objective=OBJECTIVE,
            max_trials=algorithm.total_evaluations,
            hyperparameters=self._make.hyperparameters,
            allow_new_entries=False,
            tune_new_entries=False,
            seed=seed or 1,  # for 0 the base class draws one from Python's global random state
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        if stale_trial_seconds is not None and not 0 < stale_trial_seconds < math.inf:
            raise InputError(f"stale_trial_seconds: expected a number > 0 or None, got {stale_trial_seconds!r}")
        self.algorithm, self.context, self.seed = algorithm, context, seed
        self.costs, self.space = algorithm.costs, algorithm.space
        self.engine = Engine(algorithm, max_retries_per_trial, max_consecutive_failed_trials)
        self.verbose = 0
        self.raise_failure = True  # False: whoever runs the trials looks at `failure`
        self.stopped = False  # True: `stop_after` ended the search
        # Whether results are there that a trial would only have to fetch: these are taken also when it is late.
        self.has_answers: Callable[[], bool] = lambda: False
        self._stop_at = math.inf  # of time.monotonic()
        self._reported: dict[str, dict] = {}  # metrics by id, of trials that have not ended
        self.stale_trial_seconds = stale_trial_seconds
        self.identity: Mapping | None = None  # what a worker's search has to equal, see workers.py
        self.secret: str | None = None  # on a chief: what identifiers have to carry, see workers.py
        self.grouping: Grouping | None = None  # on a chief: how many trials a worker gets at once; None: one
        self._in_hand: dict[str, list[str]] = {}  # ids of trials by tuner, the one of `ongoing_trials` first
        self._strangers_came = self._was_answered = False
        self._slowest = 0.0  # seconds from a group's beginning to its first answer, for each of its trials

    # -- the search -----------------------------------------------------------------------------------------

    @property
    def failure(self) -> str | None:
        """Why the search stopped before its end; None when it did not."""
        return self.engine.failure

    @property
    def hypervolume(self) -> list[float]:
        """One value a tell, 0..1, of the algorithm's first front; see HypervolumeBox."""
        return list(self.algorithm.hypervolume)

    @property
    def evaluations(self) -> int:
        """Individuals scored so far, those of the present generation included and repeats counted."""
        return self.engine.evaluations

    def remaining_trials(self) -> int:
        return self.algorithm.total_evaluations - self.evaluations

    @locked
    def operator_statistics(self) -> dict:
        """Counts of the mutation's operators, plain JSON; empty for one that counts nothing."""
        self._open()
        return getattr(getattr(self.algorithm, "mutation", None), "statistics", dict)()

    @locked
    def evaluated(self) -> list[Candidate]:
        """Every architecture that was evaluated, in the order of evaluation; failed ones are left out."""
        self._open()
        known = dict.fromkeys([*self.algorithm.objectives.metrics, *self.algorithm.cost_model.names])
        return [
            Candidate.of(Architecture(decode(line), self.space), result, known)
            for line, result in self.engine.results.items()
            if result is not None
        ]

    def pareto_front(self) -> list[Candidate]:
        """The non-dominated among all evaluated architectures within the bounds, by rising multiply-adds.

        That contains every non-dominated model which the population, being of fixed size, had to let go.
        """
        objectives = self.algorithm.objectives
        return front_of([c for c in self.evaluated() if objectives.violation(c.metrics) <= 0], objectives)

    @locked
    def open_architectures(self) -> list[tuple[int, ...]]:
        """Choices of the present generation's architectures that have no result yet, in the order of their trials."""
        self._open()
        return self.engine.open_architectures()

    def fingerprint(self) -> dict:
        """Plain JSON that names the search: a journal with another one is refused."""
        return {
            "space": f"{self.space.name} {self.space.fingerprint}",
            "input_size": self.costs.input_size,
            "num_classes": self.costs.num_classes,
            "objective": f"{self.objective.direction} {self.objective.name}",
            **self.algorithm.get_config(),
            "seed": int(self.seed),
            EVALUATION_KEY: EVALUATION,
            "draws": draws_of(),
            "context": self.context,
        }

    def stop_after(self, seconds: float) -> None:
        """Hand out no trial later than `seconds` from now, save those whose results are there already.

        `stopped` says whether that ended the search. What an evaluator measures together is not cut short. Nothing is lost
        by it: another process, or another call, resumes.
        """
        self._stop_at, self.stopped = time.monotonic() + seconds, False

    def searching(self) -> contextlib.AbstractContextManager[None]:
        """A block in which no other thread of this process searches in the same folder; InputError where one does."""
        self._open()
        assert self.engine.journal is not None
        return self.engine.journal.searching()

    @locked
    def forget_failure(self) -> None:
        """After `failure`: the trials that failed in a row may run again."""
        for trial_id in self.engine.forget_failure():
            self.end_order.remove(trial_id)

    # -- KerasTuner's protocol ------------------------------------------------------------------------------

    @locked
    def create_trial(self, tuner_id):
        """The trial that `tuner_id` has in hand, one to run again, or the next; or an empty IDLE or STOPPED one.

        With a `grouping` it may name others that `tuner_id` has in hand with it, see trials.py.
        """
        tuner_id = self._admitted(tuner_id)
        self._open()
        self._take_back_stale(asking=tuner_id)
        if tuner_id not in self.ongoing_trials:
            status = self._next_status()
            if status == TrialStatus.STOPPED:
                self.tuner_ids.discard(tuner_id)
            else:
                self.tuner_ids.add(tuner_id)
            if status != TrialStatus.RUNNING:
                return self._make.trial({}, trial_id="", status=status)
            self._in_hand[tuner_id] = self._next_group()
            self._begin(tuner_id)
            self._display.on_trial_begin(self.ongoing_trials[tuner_id])  # prints nothing unless `verbose`
        self._begin(tuner_id)
        group, trial = self._in_hand[tuner_id], self.ongoing_trials[tuner_id]
        return trial if len(group) == 1 else with_group(trial, {other: self.engine.trials[other] for other in group})

    def populate_space(self, trial_id):
        """The values of a trial of the present generation, which fixes its trials when it is asked for."""
        if trial_id not in self.engine.trials:
            return {"status": TrialStatus.STOPPED, "values": {}}
        return {"status": TrialStatus.RUNNING, "values": self._make.values(self.engine.trials[trial_id])}

    @locked
    def update_trial(self, trial_id, metrics, step=0):
        """Take a running trial's metrics; a later report replaces an earlier one. InputError where the objective is missing."""
        trial_id = self._admitted(trial_id)
        if self.objective.name not in metrics:
            raise InputError(f"metrics: expected the objective {self.objective.name}, got {sorted(metrics)}")
        self._open()
        trial = self._trial(trial_id)
        if trial_id not in self.engine.ended:
            self._reported[trial_id] = {name: float(value) for name, value in metrics.items()}
            report_metrics(trial, self._reported[trial_id], step)
        return trial

    @locked
    def end_trial(self, trial=None, status=TrialStatus.COMPLETED, *, trial_id=None):
        """End a trial, or hand it out again; ending a trial that has ended changes nothing.

        KerasTuner's older form will do, too: `end_trial(trial_id, status)`. Raises InputError when the journal cannot be
        written; the trial has not ended then and may be ended again. Raises RuntimeError for the last one of too many
        failures in a row, as KerasTuner's own oracles do, unless `raise_failure` is False.
        """
        message = None
        if isinstance(trial, Trial):
            trial.trial_id = trial_id = self._admitted(trial.trial_id)
            # The reason of a failure may come as a hyperparameter value from another process.
            status, message = trial.status, trial.message or trial.hyperparameters.values.get(REASON)
        else:
            trial_id = self._admitted(trial_id if trial is None else trial)
        self._open()
        failed_before = self.failure is not None
        trial = self._trial(trial_id)
        if trial_id not in self.engine.ended:
            trial.status = TrialStatus.RUNNING  # until the journal has it
            self._end(trial, status, message)
        self._let_go(trial_id)
        if trial_id in self._display.trial_start:  # it was shown when it began
            self._display.on_trial_end(trial)
        if self.failure is not None and not failed_before and self.raise_failure:
            raise RuntimeError(f"search: {self.failure}")

    @locked
    def get_trial(self, trial_id):
        trial_id = self._admitted(trial_id)
        self._open()
        return self._trial(trial_id)

    def get_space(self):
        """A copy of the hyperparameters; on a chief, with its search's identity as a fixed one."""
        space = super().get_space()
        if self.identity is not None:
            space.Fixed(IDENTITY, json.dumps(self.identity))
        return space

    def save(self) -> None:
        """Nothing to do: every finished trial is on disk already."""

    @locked
    def reload(self) -> None:
        """Read the journal of the project's folder; without a call, the first trial does."""
        self._open()

    # -- workers --------------------------------------------------------------------------------------------

    @locked
    def give_up(self, tuner_id: str) -> None:
        """Expect nothing more of `tuner_id`: the trials it has in hand are the next to be handed out."""
        self.tuner_ids.discard(tuner_id)
        if trials := self._take_from(tuner_id):
            logger.warning("trial %s is taken back from %s", ", ".join(trials), tuner_id)

    @locked
    def is_over(self) -> bool:
        """True if nothing is left to hand out, at the search's end or after `failure`; needs no request by a worker."""
        self._open()
        return self._next_status() == TrialStatus.STOPPED

    @locked
    def dismiss(self) -> None:
        """Expect nothing more of anybody: KerasTuner's chief ends when it waits for nobody."""
        self.tuner_ids.clear()
        self.ongoing_trials.clear()
        self._in_hand.clear()

    def _admitted(self, identifier: str) -> str:
        """The identifier without the secret; InputError for a stranger's."""
        if self.secret is None:
            return identifier
        try:
            return opened(identifier, self.secret)
        except InputError:
            if not self._strangers_came:  # said once, for the log must not grow by what strangers do
                logger.warning(
                    "the search's service refuses requests without the search's secret, see search/%s", SECRET
                )
            self._strangers_came = True
            raise

    def _take_back_stale(self, asking: str) -> None:
        if self.stale_trial_seconds is None and not self._was_answered:  # nobody knows yet how long it takes
            return
        for tuner_id, trial in list(self.ongoing_trials.items()):
            expected = STALE_FACTOR * self._slowest * max(len(self._in_hand.get(tuner_id, ())), 1)
            seconds = self.stale_trial_seconds or max(LEAST_STALE_SECONDS, expected)
            if tuner_id != asking and self._seconds_in_hand(trial.trial_id) > seconds:
                logger.warning("%s has not answered for %.4g s", tuner_id, seconds)
                self.give_up(tuner_id)

    def _seconds_in_hand(self, trial_id: str) -> float:
        return time.monotonic() - self.engine.started.get(trial_id, math.inf)

    def _next_group(self) -> list[str]:
        """Trials of the queue for one tuner: as many as `grouping` says."""
        count, lines = 1, self.engine.trials
        if self.grouping is not None:
            waiting = [lines[trial_id] for trial_id in self.engine.queue]
            workers = max(len(self.tuner_ids), 1 if self._was_answered else AT_FIRST)
            count = self.grouping.first(waiting, workers, list(lines.values()))
        return [self.engine.take() for _ in range(count)]

    def _begin(self, tuner_id: str) -> None:
        """The first of the trials that a tuner has in hand begins, at first or again."""
        trial = self.ongoing_trials[tuner_id] = self._trial(self._in_hand[tuner_id][0])
        # Without this, KerasTuner takes the metrics of an attempt that failed or was lost for those of the next one.
        clear_metrics(trial)
        trial.status, trial.message = TrialStatus.RUNNING, None
        self.engine.started[trial.trial_id] = time.monotonic()

    def _let_go(self, trial_id: str) -> None:
        """A trial has ended, for good or for now; where it failed, the rest of its group is in nobody's hands, too."""
        for tuner_id in [tuner_id for tuner_id, group in self._in_hand.items() if trial_id in group]:
            self._in_hand[tuner_id].remove(trial_id)
            if self.engine.results.get(self.engine.trials[trial_id]) is not None and self._in_hand[tuner_id]:
                self._begin(tuner_id)
            else:
                self._take_from(tuner_id)
            if trial_id not in self.engine.ended:
                self.engine.repeat(trial_id)  # before the others

    def _take_from(self, tuner_id: str) -> list[str]:
        """The trials that a tuner had in hand go back to the queue, unless another one has them, too."""
        self.ongoing_trials.pop(tuner_id, None)
        trials = self._in_hand.pop(tuner_id, [])
        others = {trial_id for group in self._in_hand.values() for trial_id in group}
        trials = [trial_id for trial_id in trials if trial_id not in others]
        for trial_id in reversed(trials):
            self.engine.repeat(trial_id)
        return trials

    # -- trials ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Read the journal once, and make the trials that it has."""
        if self.engine.journal is not None:
            return
        journal = Journal(pathlib.Path(self._project_dir) / TRIALS, self.fingerprint())
        for record in self.engine.resume(journal):
            values, trial_id = self._make.values(record["architecture"]), record["trial"]
            trial = self._make.trial(values, trial_id, record["status"])
            trial.message = record.get("message")
            self.trials[trial_id] = trial
            self.start_order.append(trial_id)
            self._finish(trial, record.get("metrics"))

    def _next_status(self) -> str:
        """RUNNING if there is a trial to run, which may be the next generation's; IDLE or STOPPED if there is none."""
        self.engine.settle()
        if self.engine.finished:
            assert self.engine.journal is not None  # `_open` comes first
            self.engine.journal.close()  # lets other processes into the folder
            return TrialStatus.STOPPED
        self.stopped = self.stopped or (time.monotonic() >= self._stop_at and not self.has_answers())
        if self.stopped or self.failure is not None:
            return TrialStatus.STOPPED
        return TrialStatus.RUNNING if self.engine.queue else TrialStatus.IDLE

    def _trial(self, trial_id: str) -> Trial:
        if trial_id not in self.trials:
            values = self.populate_space(trial_id)["values"]
            if not values:
                raise InputError(f"trial {trial_id!r}: expected one of this search, got an unknown one")
            self.trials[trial_id] = self._make.trial(values, trial_id)
            self.start_order.append(trial_id)
        return self.trials[trial_id]

    def _end(self, trial: Trial, status: str, message: str | None) -> None:
        self._was_answered = True
        size = max((len(group) for group in self._in_hand.values() if trial.trial_id in group), default=1)
        self._slowest = max(self._slowest, self._seconds_in_hand(trial.trial_id) / size)
        metrics = self._reported.get(trial.trial_id, {})
        if status == TrialStatus.COMPLETED:
            try:
                result = self.engine.succeed(trial.trial_id, metrics)
            except BadMetrics as error:
                status, message = TrialStatus.INVALID, str(error)
            else:
                trial.status = TrialStatus.COMPLETED
                self._finish(trial, result)
                return
        trial.status, trial.message = status, message
        self._fail(trial, _last_line(message) or "the worker's log says why")

    def _fail(self, trial: Trial, reason: str) -> None:
        self._reported.pop(trial.trial_id, None)
        again = self.engine.fail(trial.trial_id, reason, retry=trial.status != TrialStatus.FAILED)
        logger.warning(
            "trial %s (%s) failed %s: %s",
            trial.trial_id,
            self._make.line(trial),
            "and is run again" if again else "for good",
            reason,
        )
        if not again:
            trial.status = TrialStatus.FAILED
            self._finish(trial, None)
        if self.failure is not None:
            logger.error("the search stops: %s", self.failure)

    def _finish(self, trial: Trial, result: Mapping | None) -> None:
        """Finish a trial that ended in this process or in an earlier one."""
        if result is not None:
            add_metrics(trial, result)
            trial.score, trial.best_step = score_of(result), 0
        self.end_order.append(trial.trial_id)
        self._reported.pop(trial.trial_id, None)


class WeightedNSGA2Oracle(ArchitectureOracle):
    """Constrained and weighted NSGA-II as a KerasTuner Oracle; see WeightedNSGA2 and ArchitectureOracle.

    Its journal belongs to everything but `generations`: a finished search resumes when that is raised.

    Args:
        space: the SearchSpace.
        weights: of accuracy, multiply-adds and params in the crowding distance; or {metric: weight} of any metrics.
        max_multiply_adds: every candidate costs less than this; None for no limit.
        min_accuracy: candidates have to exceed it; None for no floor.
        upper_bounds, lower_bounds: {metric: value} that candidates stay below, or exceed; on params, on a table's metrics, or on
            what evaluations answer besides.
        directions: {metric: "min" | "max"}; by default accuracy and params are maximised, all else is minimised.
        table: a MetricTable that predicts further metrics, such as latency.
        seed: an integer >= 0.
        input_size: pixels that costs are counted at; the space's own by default.
        num_classes: classes that costs are counted with.
        mutation: a Mutation; the published hierarchical one by default, see MutationConfig.
        ahead: how many generations are still evaluated while one is bred, see WeightedNSGA2.
        options: `context` and the others of ArchitectureOracle.

    Raises InputError for settings out of range and for a budget that no network of the space meets.
    """

    def __init__(
        self,
        space: SearchSpace,
        population_size: int = 70,
        generations: int = 120,
        weights: Mapping[str, float] | Sequence[float] = (0.4, 0.4, 0.2),
        max_multiply_adds: float | None = 500e6,
        min_accuracy: float | None = None,
        seed: int = 0,
        input_size: int | None = None,
        num_classes: int = 1000,
        mutation: Mutation | None = None,
        upper_bounds: Mapping[str, float] | None = None,
        lower_bounds: Mapping[str, float] | None = None,
        directions: Mapping[str, str] | None = None,
        table: MetricTable | None = None,
        ahead: int = 0,
        **options,
    ):
        check_settings(population_size, generations, max_multiply_adds, min_accuracy, seed)
        costs = cost_table(space, input_size or space.input_size, num_classes)
        mutation = MutationConfig().build(space, seed) if mutation is None else mutation
        algorithm = WeightedNSGA2(
            costs,
            population_size,
            generations,
            weights,
            max_multiply_adds,
            min_accuracy,
            mutation,
            seed,
            upper_bounds=upper_bounds,
            lower_bounds=lower_bounds,
            directions=directions,
            table=table,
            ahead=ahead,
        )
        super().__init__(algorithm, seed, **options)


def _last_line(text: str | None) -> str:
    """A traceback's last line, which names the error."""
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else ""
