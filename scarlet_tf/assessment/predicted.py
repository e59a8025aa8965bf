"""Scores by a predictor that is fitted to networks' own trainings: what `search.score: predictor` compares networks by."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from scarlet_tf.assessment.plots import tau_text
from scarlet_tf.assessment.statistics import kendall
from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.objectives import CostModel
from scarlet_tf.search.predictor import LEAST_ERROR, Predictor

logger = logging.getLogger("scarlet_tf")


class PredictedScores:
    """An evaluator whose scores are accuracies that a predictor expects of networks trained on their own.

    The predictor is a ridge regression on choices, depth, cost and the one-shot loss, whose strength leaves each of the trained
    networks out in turn: a loss that says nothing of them does not count, and depth alone is among the models.

    Args:
        evaluator: gives each path's accuracy and loss; None without a trained supernet: the prediction is the accuracy, too.
        cost_model: of the networks.
        networks: rows of a ranking, see `rank`.

    `fitted_to`: {architecture: accuracy of its own training}. `tau`: figures of `kendall` of the
    predictions of networks left out.

    Raises InputError for fewer than three networks.
    """

    def __init__(self, evaluator, cost_model: CostModel, networks: Sequence[Mapping]):
        self.evaluator = evaluator
        self.fitted_to = {row["architecture"]: row["stand_alone"] for row in networks}
        paths = [decode(row["architecture"]) for row in networks]
        alone = [row["stand_alone"] for row in networks]
        scores = None if evaluator is None else [-row["one_shot_loss"] for row in networks]
        self.predictor = Predictor(cost_model, paths, alone, scores)
        self.tau = kendall(self.predictor.left_out.tolist(), alone, 1000, 0)
        logger.info(
            "search: networks are compared by a model of %d trainings; left out: %s", len(paths), tau_text(self.tau)
        )

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
