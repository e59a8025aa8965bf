"""Scoring: what measures the paths of a run's supernet, what such a measurement is worth, and at which input size it is made.

The input size may be searched: at each side of the image that is wanted, for a few generations, and then at the best one. A
smaller image pays for more layers, and left-out layers for pixels. Every size has its own costs, and, if the supernet is not
trained, its own warm start; a trained one has the same weights at every size.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scarlet_tf.assessment.plots import tau_text
from scarlet_tf.assessment.ranking import rank, train_alone
from scarlet_tf.assessment.statistics import stratified_sample
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import millions, percent
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.results import InputSizes, SupernetResult
from scarlet_tf.run.folder import Run
from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.config import SIZE_GENERATIONS, evaluator_grouping, evaluator_options
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.objectives import CostModel, cost_model_and_objectives, score_of
from scarlet_tf.search.predictor import LEAST_ERROR, Predictor
from scarlet_tf.search.run import search
from scarlet_tf.training.sampling import paths_of_a_step

logger = logging.getLogger("scarlet_tf")
FEW_UPDATES = 400
"""Steps of a choice below which a supernet's scores are worth no more than depth: on a published table 192 are too few, at
the images' whole size 480, and 1,600 are enough; after 296 and 390 races on CIFAR-10's images found no order. [reading]"""


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
            " counting layers does, as measured on a published table and on CIFAR-10; search.score: predictor with"
            " supernet.epochs: 0 compares them by a model of short trainings, ranking.architectures (%d) of ranking.epochs",
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


def train_ranked(run: Run, context: Mapping[str, Any]) -> None:
    """Train the networks of `ranked` that no other process trains, and wait for theirs: what a worker does."""
    config = run.config.ranking
    samples = stratified_sample(run.costs, config.architectures, config.strata, config.seed)
    train_alone(
        [sample.architecture for sample in samples],
        run.plain_train,
        run.data.validation,
        config.training(run.config.retrain),
        run.folder / "ranking",
        run.input_shape,
        run.data.num_classes,
        context,
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
    found = ranked(run, supernet, context)
    told = tau_text(found["tau"]["predicted"])
    logger.info("search: networks are compared by a model of %d trainings; left out: %s", len(found["networks"]), told)
    return PredictedScores(evaluator, cost_model, found["networks"])


class PredictedScores:
    """An evaluator whose scores are accuracies that a predictor expects of networks trained on their own.

    The predictor is a ridge regression on choices, depth, cost and the one-shot loss, whose strength leaves each of the trained
    networks out in turn: a loss that says nothing of them does not count, and depth alone is among the models.

    Args:
        evaluator: gives each path's accuracy and loss; None without a trained supernet: the prediction is the accuracy, too.
        cost_model: of the networks.
        networks: rows of a ranking, see `rank`.

    `fitted_to`: {architecture: accuracy of its own training}.

    Raises InputError for fewer than three networks.
    """

    def __init__(self, evaluator, cost_model: CostModel, networks: Sequence[Mapping]):
        self.evaluator = evaluator
        self.fitted_to = {row["architecture"]: row["stand_alone"] for row in networks}
        paths = [decode(row["architecture"]) for row in networks]
        alone = [row["stand_alone"] for row in networks]
        scores = None if evaluator is None else [-row["one_shot_loss"] for row in networks]
        self.predictor = Predictor(cost_model, paths, alone, scores)

    @property
    def num_ready(self) -> int:
        """Announced architectures that are measured and have not been asked for."""
        return 0 if self.evaluator is None else self.evaluator.num_ready

    def begin_generation(self, architectures: Sequence) -> None:
        """Announce architectures, as Evaluator's."""
        if self.evaluator is not None:
            self.evaluator.begin_generation(architectures)

    def evaluate(self, choices) -> dict:
        """Evaluator's figures, with the prediction as the score, 0 to 1."""
        figures = {} if self.evaluator is None else self.evaluator.evaluate(choices)
        scores = [-figures["loss"]] if figures else None
        path = getattr(choices, "choices", choices)
        # Below 1 whatever is predicted, for equals there could not be told apart.
        predicted = max(float(self.predictor.predict([list(path)], scores)[0]) - LEAST_ERROR, 0.0)
        return {"accuracy": predicted, **figures, "score": predicted}


def settle_size(
    run: Run, context: Mapping[str, Any], supernet_of: Callable[[Run], tuple[Supernet, SupernetResult]]
) -> None:
    """Let `run` have the one of `search.input_sizes` at which the best network was found; of equals the smallest.

    context: of the search's journal. supernet_of: the supernet for the images of a run. Sizes at which no network keeps the
    bounds are left out, with a line that says so. Raises InputError if that leaves none. Each size has a journal of its own in
    `search/sizes`, so what was evaluated is not lost. Where the run's time is limited, all sizes together have half of it.
    """
    known = run.find(InputSizes)
    if known is not None:
        run.use_size(known.chosen)
        return
    measured: list[dict[str, Any]] = []
    views: dict[int, Run] = {}
    for size in sorted(run.config.search.input_sizes):
        view = run.at_size(size)
        try:
            cost_model_and_objectives(view.costs, **view.config.search.objective_settings(view.costs))
        except InputError as error:
            logger.warning("search: %d pixels are left out: %s", size, error)
            continue
        best, evaluations = _search_briefly(run, view, context, supernet_of)
        logger.info(
            "search: %d pixels: %s with %s multiply-adds, the best of %d networks",
            size,
            percent(best.accuracy),
            millions(best.multiply_adds),
            evaluations,
        )
        measured.append({"input_size": size, "evaluations": evaluations, **best.to_dict()})
        views[size] = view
    if not measured:
        raise InputError(
            f"search.input_sizes: expected a size at which a network keeps the bounds, got {list(run.config.search.input_sizes)}"
        )
    chosen = max(measured, key=lambda row: (score_of(row), -row["input_size"]))["input_size"]
    logger.info("search: images of %d pixels are searched to the end", chosen)
    run.keep(InputSizes(chosen, tuple(measured)))
    run.use_size(chosen)
    run.trained = views[chosen].trained


def _search_briefly(
    run: Run, view: Run, context: Mapping[str, Any], supernet_of: Callable[[Run], tuple[Supernet, SupernetResult]]
) -> tuple[Candidate, int]:
    wanted = view.config.search
    few = min(SIZE_GENERATIONS, wanted.generations)
    found = search(
        supernet_of(view)[0],
        view.data.validation,
        dataclasses.replace(wanted, generations=few, picks=1, finalists=0, input_sizes=()),
        run.folder / "search" / "sizes" / f"{view.config.data.image_size}px",
        recalibration_data=view.plain_train,
        context=context,
        max_hours=None if run.max_hours is None else run.max_hours / 2 / len(run.config.search.input_sizes),
    )
    return found.best, found.evaluations
