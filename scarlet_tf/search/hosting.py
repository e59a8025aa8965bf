"""Gives one of KerasTuner's own oracles what a search of architectures has: a journal, a budget and a front."""

from __future__ import annotations

import keras_tuner

from scarlet_tf.cost import cost_table
from scarlet_tf.errors import InputError
from scarlet_tf.search.keras_tuner_search import KerasTunerSearch
from scarlet_tf.search.oracle import ArchitectureOracle
from scarlet_tf.search.run import side_of


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
