"""The algorithms that a search can run, by name; each is made here from the settings of the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.search.algorithm import Algorithm, RandomSearch
from scarlet_tf.search.mutation import Mutation
from scarlet_tf.search.nsga2 import WeightedNSGA2

if TYPE_CHECKING:
    from scarlet_tf.search.run import SearchConfig

KERAS_TUNER = {
    "keras_tuner_random": "RandomSearchOracle",
    "keras_tuner_bayesian": "BayesianOptimizationOracle",
}


def new_algorithm(config: SearchConfig, costs: CostTable, mutation: Mutation | None = None) -> Algorithm:
    """The algorithm that `config` describes, at its start; `mutation` stands in for the one that it describes.

    Raises InputError for a budget that no network of the space meets, and for betanas, which does not search.
    """
    if config.is_betanas:
        raise InputError(
            "search.algorithm: expected one that searches a trained supernet, got 'betanas', which decides while the supernet is"
            " trained; see train_betanas, or scarlet run"
        )
    if config.algorithm == "nsga2":
        mutation = config.mutation.build(costs.space, config.seed) if mutation is None else mutation
        return WeightedNSGA2(costs, mutation=mutation, **_common(config), **config.objective_settings(costs))
    if config.algorithm == "random":
        return RandomSearch(costs, **_common(config), **config.objective_settings(costs))
    return _of_keras_tuner(config, costs)


def _common(config: SearchConfig) -> dict:
    names = ("population_size", "generations", "seed")
    return {name: getattr(config, name) for name in names}


def _of_keras_tuner(config: SearchConfig, costs: CostTable) -> Algorithm:
    # These import Keras, which NSGA-II does without.
    import keras_tuner

    from scarlet_tf.search.keras_tuner_search import KerasTunerSearch
    from scarlet_tf.search.trials import TrialMaker

    oracle = getattr(keras_tuner.oracles, KERAS_TUNER[config.algorithm])(
        objective=keras_tuner.Objective("accuracy", "max"),
        max_trials=None,
        hyperparameters=TrialMaker(costs.space).hyperparameters,
        seed=config.seed + 1,  # for 0 KerasTuner draws one
    )
    evaluations = config.population_size * config.generations
    return KerasTunerSearch(costs, oracle, evaluations, **config.objective_settings(costs))
