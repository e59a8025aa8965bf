"""Scoring: what measures the paths of a run's supernet, and the ranking that says what such a measurement is worth."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from scarlet_tf.assessment.predicted import PredictedScores
from scarlet_tf.assessment.ranking import rank
from scarlet_tf.assessment.statistics import stratified_sample
from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.run.folder import Run
from scarlet_tf.search.config import evaluator_grouping, evaluator_options
from scarlet_tf.search.objectives import cost_model_and_objectives
from scarlet_tf.training.sampling import paths_of_a_step

logger = logging.getLogger("scarlet_tf")
FEW_UPDATES = 250
"""Steps of a choice below which a supernet's scores are worth no more than depth: 192 were measured, on a published table."""


def check_ranking(run: Run) -> None:
    """Raise InputError for settings at which the ranking would fail after the supernet's training."""
    config = run.config.ranking
    training, available = config.training(run.config.retrain), run.data.train.num_examples
    if training.batch_size > available:
        raise InputError(
            f"ranking.batch_size: expected at most the {available} training images, got {training.batch_size}"
            " (where it is null, retrain.batch_size counts)"
        )
    stratified_sample(run.costs, config.architectures, config.strata, config.seed)


def warn_of_few_steps(run: Run) -> None:
    """Say before the supernet's training where counting layers would order networks as well as its scores."""
    search, settings = run.config.search, run.config.supernet
    if search.score == "predictor" or search.is_betanas or run.config.parent.name is not None:
        return
    steps = settings.epochs * (run.data.train.num_examples // settings.batch_size)
    paths = paths_of_a_step(settings.sampling, run.config.space, settings.sandwich_random)
    if (updates := steps * paths // run.config.space.num_choices) < FEW_UPDATES:
        logger.warning(
            "supernet.epochs: each choice is trained in %d steps; after fewer than %d a supernet orders networks no better than"
            " counting layers does; search.score: predictor with supernet.epochs: 0 compares them by a model of short"
            " trainings, ranking.architectures (%d) of ranking.epochs",
            updates,
            FEW_UPDATES,
            run.config.ranking.architectures,
        )


def ranked(run: Run, supernet: Supernet, context: Mapping[str, Any]) -> dict:
    """Figures of `rank` for the run's supernet; networks that were trained for an earlier call are not trained again."""
    own, config = run.of_supernet, run.config
    data, seen = ((one.plain_train, one.data.validation) for one in (run, own))
    others = ("recalibration_batches", "batch_size", "seed")  # which the ranking has of its own
    score = {key: value for key, value in evaluator_options(config.search).items() if key not in others}
    return rank(
        supernet,
        *data,
        config.ranking,
        config.retrain,
        run.folder,
        context,
        config.space,
        seen,
        None if config.without_supernet else score,
    )


def evaluator_of(run: Run, supernet: Supernet) -> Evaluator:
    """Evaluator of the supernet's paths with the settings of the run's search."""
    own, search = run.of_supernet, run.config.search
    options = {**evaluator_options(search), **evaluator_grouping(search)}
    return Evaluator(supernet, own.data.validation, own.plain_train, **options)


def scores_of(run: Run, supernet: Supernet, context: Mapping[str, Any]) -> Evaluator | PredictedScores:
    """Evaluator that gives the supernet's paths the scores that the run's search compares by."""
    evaluator = None if run.config.without_supernet else evaluator_of(run, supernet)
    if evaluator is not None and run.config.search.score != "predictor":
        return evaluator
    cost_model, _ = cost_model_and_objectives(run.costs, **run.config.search.objective_settings(run.costs))
    return PredictedScores(evaluator, cost_model, ranked(run, supernet, context)["networks"])
