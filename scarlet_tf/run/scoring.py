"""Scoring: what measures the paths of a run's supernet, and the ranking that says what such a measurement is worth."""

from __future__ import annotations

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


def ranked(run: Run, supernet: Supernet, context: Mapping[str, Any]) -> dict:
    """Figures of `rank` for the run's supernet; networks that were trained for an earlier call are not trained again."""
    own, config = run.of_supernet, run.config
    data, seen = ((one.plain_train, one.data.validation) for one in (run, own))
    return rank(supernet, *data, config.ranking, config.retrain, run.folder, context, config.space, seen)


def evaluator_of(run: Run, supernet: Supernet) -> Evaluator:
    """Evaluator of the supernet's paths with the settings of the run's search."""
    own, search = run.of_supernet, run.config.search
    options = {**evaluator_options(search), **evaluator_grouping(search)}
    return Evaluator(supernet, own.data.validation, own.plain_train, **options)


def scores_of(run: Run, supernet: Supernet, context: Mapping[str, Any]) -> Evaluator | PredictedScores:
    """Evaluator that gives the supernet's paths the scores that the run's search compares by."""
    evaluator = evaluator_of(run, supernet)
    if run.config.search.score != "predictor":
        return evaluator
    cost_model, _ = cost_model_and_objectives(run.costs, **run.config.search.objective_settings(run.costs))
    return PredictedScores(evaluator, cost_model, ranked(run, supernet, context)["networks"])
