"""The ranking of a run's networks: the checks before any training, and the measurement."""

from __future__ import annotations

from scarlet_tf.cost import cost_table
from scarlet_tf.errors import InputError
from scarlet_tf.pipeline.run import Run
from scarlet_tf.ranking.run import rank
from scarlet_tf.ranking.strata import stratified_sample


def check_ranking(run: Run) -> None:
    """Raise InputError for settings at which the ranking would fail after the supernet's training."""
    config, data = run.config.ranking, run.data
    training, available = config.training(run.config.retrain), data.train.num_examples
    if training.batch_size > available:
        raise InputError(
            f"ranking.batch_size: expected at most the {available} training images, got {training.batch_size}"
            " (where it is null, retrain.batch_size counts)"
        )
    costs = cost_table(run.config.space, run.config.data.image_size, data.num_classes)
    stratified_sample(costs, config.architectures, config.strata, config.seed)


def rank_networks(run: Run) -> dict:
    """Rank the networks; return the figures, which are also written to `ranking/result.json`."""
    config, data = run.config, run.data
    return rank(run.supernet, run.plain_train, data.validation, config.ranking, config.retrain, run.folder, run.context)
