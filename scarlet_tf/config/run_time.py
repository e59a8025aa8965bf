"""Estimate of a run's time from the time of one step of its supernet. Imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from scarlet_tf.base.words import duration
from scarlet_tf.race.config import sizes, trainings
from scarlet_tf.search.config import SIZE_GENERATIONS
from scarlet_tf.space.cost import cost_table
from scarlet_tf.training.sampling import paths_of_a_step

if TYPE_CHECKING:
    from scarlet_tf.config.schema import Config

# Relative to the time of one path in a supernet's step for an image, forward and backward, for as many multiply-adds:
# an image in the search, whose paths share layers, in validation, and in retraining, whose layers are called one by one.
SEARCHED, VALIDATED, RETRAINED = 0.25, 0.4, 1.3
# Relative to the first call of the supernet's step, most of which is graph construction: the same in the other stages.
SEARCH_BEGIN, RETRAIN_BEGIN, EXPORT = 0.5, 0.5, 1.5
_DRAWS = 400


def stage_seconds(
    config: Config, examples: Mapping[str, int], num_classes: int, first: float, seconds: float
) -> dict[str, float]:
    """{stage: seconds} of a run on one device whose supernet's step takes `first` seconds once, then `seconds`.

    examples: images for "train" and "validation". A step's time is assumed proportional to its multiply-adds, and the cost of the
    retrained network to be the budget.
    """
    supernet, search, retrain = config.supernet, config.search, config.retrain
    table = cost_table(config.space, config.data.image_size, num_classes)
    draws = np.random.default_rng(0).integers(config.space.num_choices, size=(_DRAWS, config.space.num_layers))
    costs = table.count(draws)[0]
    mean, greatest = float(np.mean(costs)), table.bounds["multiply_adds"][1]
    picked = min(search.budget or mean, greatest) / mean
    num_paths = paths_of_a_step(supernet.sampling, config.space, supernet.sandwich_random)
    an_image = seconds / (num_paths * supernet.batch_size)
    own = config.of_supernet
    seen = cost_table(own.space, own.data.image_size, num_classes).count(draws)[0]
    searched, an_image = an_image, an_image * mean / float(np.mean(seen))
    train, validation = examples["train"], examples["validation"]
    recalibration = min(search.recalibration_batches * search.validation_batch_size, train)
    probe = min(search.probe_batches * search.validation_batch_size, train)
    generations = search.generations + len(search.input_sizes) * min(SIZE_GENERATIONS, search.generations)
    evaluated = search.population_size * generations * (recalibration + probe + validation)
    trained = train // retrain.batch_size * retrain.batch_size
    validated = validation / retrain.validate_every_epochs
    an_epoch = (trained * RETRAINED + validated * VALIDATED) * picked * an_image
    if retrain.teacher == "parent":  # it sees every image, too, and is about the greatest network of the space
        an_epoch += trained * VALIDATED * greatest / mean * an_image
    begin, epochs = RETRAIN_BEGIN * first, retrain.epochs * an_epoch
    fitted = 0.0
    if search.score == "predictor":  # to networks of all costs, trained before the search
        ranking = config.ranking
        fitted = ranking.architectures * (begin + ranking.training(retrain).epochs * an_epoch / picked)
    race = {}
    if config.races:  # its winner has been trained
        rungs, rivals = config.race.rungs, [name for name in config.race.rivals if name != "parent"]
        entrants, kinds = config.race.finalists + len(rivals), 2 if rivals else 1
        race = {"race": sum(sizes(entrants, len(rungs), kinds)) * begin + trainings(entrants, rungs, kinds) * epochs}
    return {
        "train-supernet": first + supernet.epochs * (train // supernet.batch_size) * seconds,
        "search": SEARCH_BEGIN * first + fitted + evaluated * SEARCHED * min(picked, 1) * searched,
        **race,
        "retrain": begin + (0 if race else epochs),
        "export": EXPORT * first,
    }


def in_words(stages: Mapping[str, float]) -> str:
    """Such as "9 min 40 s: train-supernet 5 min 0 s, search 40 s, retrain 4 min 0 s"."""
    parts = ", ".join(f"{name} {duration(round(seconds))}" for name, seconds in stages.items())
    return f"{duration(round(sum(stages.values())))}: {parts}"
