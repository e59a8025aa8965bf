"""A search as a KerasTuner Oracle: one trial an architecture and one ask a generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner

from scarlet_tf.cost import cost_table
from scarlet_tf.metric_table import MetricTable
from scarlet_tf.search.algorithm import Algorithm
from scarlet_tf.search.checks import EVALUATION, check_settings
from scarlet_tf.search.front import Candidate, front_of
from scarlet_tf.search.generations import Generations
from scarlet_tf.search.genomes import decode
from scarlet_tf.search.journal import EVALUATION_KEY
from scarlet_tf.search.locking import locked
from scarlet_tf.search.mutation import Mutation
from scarlet_tf.search.mutation_config import MutationConfig
from scarlet_tf.search.nsga2 import WeightedNSGA2
from scarlet_tf.search.shared_oracle import SharedOracle
from scarlet_tf.search.trials import TrialMaker
from scarlet_tf.space import Architecture, SearchSpace

OBJECTIVE = keras_tuner.Objective("accuracy", "max")


class ArchitectureOracle(SharedOracle):
    """Any search of architectures as a KerasTuner Oracle.

    A trial's hyperparameters `layer_00`, `layer_01`, ... are the choice indices of one architecture, its result
    {"accuracy": 0..1}. Costs are counted here. While the last trials of a generation run, further workers are told
    IDLE; after the last generation STOPPED. An architecture that comes again is not evaluated again, so there may be
    fewer trials than evaluations. A trial whose evaluation fails, or whose accuracy is missing or not a number from 0
    to 1, is run again up to `max_retries_per_trial` times; then it counts as infeasible for good and its generation
    goes on. After `max_consecutive_failed_trials` such trials in a row the search stops, `failure` says why, and
    those of the present generation are not journalled: the same command runs them again once the cause is gone.

    Everything is kept in trials.jsonl and state.json of the project's folder (see journal.py), loaded on first use.
    They belong to this space, seed, `context` (any plain JSON, such as a checkpoint's hash) and to what the algorithm's
    `get_config` says; another search's files are refused with InputError. A process keeps others out of the folder
    until its search has ended.

    Args:
        algorithm: a new one, which takes up the state that is found in the folder.
        seed: the one that it was made with.
        stale_trial_seconds: a trial without an answer for so long is handed to the next worker that asks, too; the
            first answer counts. None: never.
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
        self.algorithm, self.context = algorithm, context
        self.costs, self.space = algorithm.costs, algorithm.costs.space
        super().__init__(
            TrialMaker(self.space),
            Generations(algorithm),
            objective=OBJECTIVE,
            max_trials=algorithm.total_evaluations,
            seed=seed or 1,  # for 0 the base class draws one from Python's global random state
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            stale_trial_seconds=stale_trial_seconds,
        )
        self.seed = seed

    @property
    def hypervolume(self) -> list[float]:
        """One value a tell, 0..1, of the algorithm's first front; see HypervolumeBox."""
        return list(self.algorithm.hypervolume)

    @property
    def evaluations(self) -> int:
        """Individuals scored so far, those of the present generation included and repeats counted."""
        return self._generations.evaluations

    @locked
    def operator_statistics(self) -> dict:
        """Counts of the mutation's operators, plain JSON; empty for one that counts nothing."""
        self._open()
        statistics = getattr(getattr(self.algorithm, "mutation", None), "statistics", dict)
        return statistics()

    def remaining_trials(self) -> int:
        return self.algorithm.total_evaluations - self.evaluations

    @locked
    def evaluated(self) -> list[Candidate]:
        """Every architecture that was evaluated, in the order of evaluation; failed ones are left out."""
        self._open()
        results = self._generations.results
        return [self._candidate(line, result) for line, result in results.items() if result is not None]

    def pareto_front(self) -> list[Candidate]:
        """The non-dominated among all evaluated architectures within the bounds, by rising multiply-adds.

        That contains every non-dominated model which the population, being of fixed size, had to let go.
        """
        goals = self.algorithm.goals
        return front_of([c for c in self.evaluated() if goals.violation(c.metrics) <= 0], goals)

    @locked
    def open_architectures(self) -> list[tuple[int, ...]]:
        """Choices of the present generation's architectures that have no result yet, in the order of their trials."""
        self._open()
        return self._generations.open_architectures()

    def fingerprint(self) -> dict:
        """Plain JSON that names the search: files with another one are refused."""
        return {
            "space": f"{self.space.name} {self.space.fingerprint}",
            "input_size": self.costs.input_size,
            "num_classes": self.costs.num_classes,
            "objective": f"{self.objective.direction} {self.objective.name}",
            **self.algorithm.get_config(),
            "seed": int(self.seed),
            EVALUATION_KEY: EVALUATION,
            "context": self.context,
        }

    def _count(self, line: str) -> dict[str, int | float]:
        return self.algorithm.figures.of_one(decode(line))

    def _check(self, metrics: Mapping) -> dict[str, float]:
        return self.algorithm.goals.check(metrics, self.algorithm.figures.names)

    def _candidate(self, line: str, result: Mapping) -> Candidate:
        known = dict.fromkeys([*self.algorithm.goals.metrics, *self.algorithm.figures.names])
        return Candidate.of(Architecture(decode(line), self.space), result, known)


class WeightedNSGA2Oracle(ArchitectureOracle):
    """Constrained and weighted NSGA-II as a KerasTuner Oracle; see WeightedNSGA2 and ArchitectureOracle.

    Its files belong to everything but `generations`: a finished search goes on when that is raised.

    Args:
        space: the SearchSpace.
        weights: of accuracy, multiply-adds and params in the crowding distance; or {metric: weight} of any metrics.
        max_multiply_adds: every candidate costs less than this; None for no limit.
        min_accuracy: candidates have to exceed it; None for no floor.
        limits, floors: {metric: value} that candidates stay below, or exceed; on params, on a table's metrics, or on
            what evaluations answer besides.
        directions: {metric: "min" | "max"}; by default accuracy and params are maximised, all else is minimised.
        table: a MetricTable that predicts further metrics, such as latency.
        seed: an integer >= 0.
        input_size: pixels that costs are counted at; the space's own by default.
        num_classes: classes that costs are counted with.
        mutation: a Mutation; the published hierarchical one by default, see MutationConfig.
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
        limits: Mapping[str, float] | None = None,
        floors: Mapping[str, float] | None = None,
        directions: Mapping[str, str] | None = None,
        table: MetricTable | None = None,
        **options,
    ):
        check_settings(population_size, generations, max_multiply_adds, min_accuracy, seed)
        costs = cost_table(space, input_size or space.input_size, num_classes)
        mutation = MutationConfig().build(space, seed) if mutation is None else mutation
        bounds = (max_multiply_adds, min_accuracy)
        metrics: dict[str, Any] = {"limits": limits, "floors": floors, "directions": directions, "table": table}
        algorithm = WeightedNSGA2(costs, population_size, generations, weights, *bounds, mutation, seed, **metrics)
        super().__init__(algorithm, seed, **options)
