"""KerasTunerSearch: any of KerasTuner's own oracles as an algorithm, as a baseline, or hosted by our oracle."""

from __future__ import annotations

import logging
import math
import tempfile

import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import Algorithm
from scarlet_tf.search.config import side_of
from scarlet_tf.search.front import Archive
from scarlet_tf.search.objectives import score_of
from scarlet_tf.search.oracle import ArchitectureOracle
from scarlet_tf.search.trials import TrialMaker
from scarlet_tf.space.cost import CostTable, cost_table

logger = logging.getLogger("scarlet_tf")
TUNER = "tuner0"
# Such an oracle knows neither budget nor costs and may ask for what it knows: so many trials for each evaluation, in
# all, before the search ends without the rest.
TRIALS_PER_EVALUATION = 10


class KerasTunerSearch(Algorithm):
    """Asks an oracle for one network at a time, until it stops or `evaluations` networks were evaluated.

    The oracle does not know the bounds. A network outside those that are known beforehand is scored at once with
    accuracy 0: that takes no evaluation and does not count as one, and an oracle that learns, learns from it to stay
    inside. A network that comes again is scored with what is known, and does not count either. `over_budget` and
    `repeats` say how many there were.

    A resumed search repeats the oracle's trials with the scores that are known. So it has to be new and seeded; its files,
    which do not hold its random state, lie in a temporary folder.

    Args:
        oracle: with `layer_00`, `layer_01`, ... as Choice hyperparameters and the objective accuracy, such as
            keras_tuner.oracles.BayesianOptimizationOracle.
        metrics: weights, upper_bounds, lower_bounds, directions and table as WeightedNSGA2 takes them; for the front, the oracle
            knows accuracy alone.

    Raises InputError for other oracles.
    """

    def __init__(
        self,
        costs: CostTable,
        oracle: keras_tuner.Oracle,
        evaluations: int,
        max_multiply_adds: float | None = None,
        min_accuracy: float | None = None,
        **metrics,
    ):
        super().__init__(costs, evaluations, max_multiply_adds, min_accuracy, **metrics)
        self.oracle, self._archive = oracle, Archive(self.cost_model, self.objectives)
        self._make = TrialMaker(costs.space)
        _check(oracle, self._make)
        oracle.verbose = 0
        oracle.max_consecutive_failed_trials = math.inf  # which trials may fail is the outer oracle's to say
        self._folder = tempfile.TemporaryDirectory(prefix="scarlet-search-")
        # What gives an oracle its folder.
        BaseTuner(oracle, directory=self._folder.name, project_name="trials")
        self._known: dict[tuple[int, ...], float | None] = {}
        self._trial: Trial | None = None
        self.over_budget = self.repeats = 0

    def _draw(self) -> np.ndarray:
        while len(self.oracle.trials) < TRIALS_PER_EVALUATION * self.total_evaluations:
            trial = self.oracle.create_trial(TUNER)
            if trial.status != TrialStatus.RUNNING:
                break
            genome = self._make.choices(trial)
            if genome in self._known:
                self.repeats += 1
                self._end(trial, self._known[genome])
            elif not self.objectives.meets(self.cost_model.of([genome]))[0]:
                self.over_budget += 1
                self._end(trial, 0.0)
            else:
                self._trial = trial
                return np.array([genome], np.int64)
        logger.warning("search: the oracle has nothing new after %d trials; the search ends", len(self.oracle.trials))
        return np.zeros((0, self.space.num_layers), np.int64)

    def _learn(self, genomes: np.ndarray, metrics: list[dict | None]) -> float:
        for genome, found in zip(genomes.tolist(), metrics, strict=True):
            score = self._known[tuple(genome)] = None if found is None else score_of(found)
            self._end(self._trial, score)
        return self._archive.add(genomes, metrics)

    def _end(self, trial: Trial, score: float | None) -> None:
        if score is None:
            trial.status = TrialStatus.FAILED
        else:
            self.oracle.update_trial(trial.trial_id, {"accuracy": score})
            trial.status = TrialStatus.COMPLETED
        self.oracle.end_trial(trial)

    def get_config(self) -> dict:
        return {
            "algorithm": type(self.oracle).__name__,
            "oracle_seed": self.oracle.seed,
            **self.objectives.get_config(),
            "table": self.cost_model.fingerprint,
        }


def hosted(oracle: keras_tuner.Oracle, supernet, max_multiply_adds: float | None = None) -> ArchitectureOracle:
    """An ArchitectureOracle that asks `oracle` what to evaluate, `oracle.max_trials` networks in all.

    Raises InputError for an oracle that does not fit the supernet's space.
    """
    if not isinstance(oracle, keras_tuner.Oracle):
        raise InputError(
            f"oracle: expected a WeightedNSGA2Oracle or another one of KerasTuner, got {type(oracle).__name__}"
        )
    if supernet is None:
        raise InputError("supernet: expected one, whose space the oracle searches, got None")
    if not oracle.max_trials:
        raise InputError(f"oracle.max_trials: expected an integer >= 1, got {oracle.max_trials!r}")
    costs = cost_table(supernet.space, side_of(supernet), supernet.num_classes)
    algorithm = KerasTunerSearch(costs, oracle, oracle.max_trials, max_multiply_adds)
    return ArchitectureOracle(algorithm, oracle.seed)


def _check(oracle, make: TrialMaker) -> None:
    if not isinstance(oracle, keras_tuner.Oracle):
        raise InputError(f"oracle: expected an Oracle of KerasTuner, got {type(oracle).__name__}")
    if oracle.trials:
        raise InputError(f"oracle: expected a new one, got one with {len(oracle.trials)} trials")
    objective = oracle.objective
    if (getattr(objective, "name", None), getattr(objective, "direction", None)) != ("accuracy", "max"):
        raise InputError(f'oracle.objective: expected Objective("accuracy", "max"), got {objective}')
    wanted, found = (
        {p.name: p.get_config() for p in space.space} for space in (make.hyperparameters, oracle.get_space())
    )
    if {name: config.get("values") for name, config in found.items()} != {
        name: config["values"] for name, config in wanted.items()
    }:
        raise InputError(
            f"oracle.hyperparameters: expected Choices {', '.join(wanted)} of the choice indices, got"
            f" {', '.join(found) or 'none'}"
        )
