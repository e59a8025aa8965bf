"""Scores by a predictor: what they are worth, and a search that compares by them."""

import numpy as np
import pytest
from test_predictor import DIFFERENT, FIGURES, accuracies
from test_rank import CONFIG

from scarlet_tf.base.errors import InputError
from scarlet_tf.config import parse_config
from scarlet_tf.run import run_ranking, run_stage
from scarlet_tf.run.folder import Run, open_existing
from scarlet_tf.run.methods import SupernetSearch
from scarlet_tf.run.scoring import PredictedScores
from scarlet_tf.search.algorithm import encode
from scarlet_tf.search.journal import TRIALS, read_lines
from scarlet_tf.search.predictor import Predictor
from scarlet_tf.search.run import SearchResult


class Known:
    """An evaluator of a made-up loss."""

    num_ready = 0

    def __init__(self, losses):
        self.losses, self.announced = losses, None

    def begin_generation(self, architectures):
        self.announced = list(architectures)

    def evaluate(self, choices):
        return {"accuracy": 0.5, "loss": self.losses[tuple(choices)], "num_examples": 9}


def test_scores_are_what_a_predictor_expects(rng):
    networks = DIFFERENT[rng.choice(len(DIFFERENT), 12, replace=False)]
    alone = accuracies(networks, rng)
    losses = {tuple(path): 1 - float(accuracies(np.array([path]), rng)[0]) for path in DIFFERENT.tolist()}
    rows = [
        {"architecture": line, "stand_alone": float(value), "one_shot_loss": losses[tuple(path)]}
        for line, value, path in zip(encode(networks), alone, networks.tolist(), strict=True)
    ]
    evaluator = Known(losses)
    scores = PredictedScores(evaluator, FIGURES, rows)
    scores.begin_generation([(0, 1, 2, 3)])
    assert evaluator.announced == [(0, 1, 2, 3)] and scores.fitted_to[rows[0]["architecture"]] == alone[0]
    expected = Predictor(FIGURES, networks, alone, [-row["one_shot_loss"] for row in rows])
    found = np.array([scores.evaluate(tuple(path))["score"] for path in DIFFERENT.tolist()])
    predicted = expected.predict(DIFFERENT, [-losses[tuple(path)] for path in DIFFERENT.tolist()])
    np.testing.assert_allclose(found, np.maximum(predicted - 0.01, 0))
    assert scores.evaluate((0, 1, 2, 3))["accuracy"] == 0.5
    with pytest.raises(InputError, match="expected at least 3 that were trained, got 2"):
        PredictedScores(evaluator, FIGURES, rows[:2])


@pytest.mark.slow
def test_a_search_trains_networks_first_and_compares_by_what_they_tell(tmp_path):
    search = {
        **CONFIG["search"],
        "score": "predictor",
        "population_size": 2,
        "generations": 2,
        "recalibration_batches": 2,
    }
    config = parse_config({**CONFIG, "name": "predicted", "search": {**search, "picks": 1}})
    run_stage("train-supernet", config, tmp_path / "run")
    run_stage("search", config, tmp_path / "run")
    run = open_existing(tmp_path / "run")
    found = run.get(SearchResult)
    ranked = run_ranking(config, tmp_path / "run")  # nothing is trained again
    header = read_lines(tmp_path / "run" / "search" / TRIALS)[0]
    alone = {row["architecture"]: row["stand_alone"] for row in ranked["networks"]}
    assert header["fingerprint"]["context"]["caller"]["predictor"] == alone
    assert all(one.score != pytest.approx(one.accuracy) for one in found.pareto)
    with pytest.raises(InputError, match=r"ranking\.batch_size: expected at most the"):
        big = {**CONFIG["ranking"], "batch_size": 100_000}
        SupernetSearch().examine(
            Run(parse_config({**CONFIG, "name": "big", "search": search, "ranking": big}), tmp_path / "b")
        )


def test_several_processes_do_not_share_a_predictor(monkeypatch, tmp_path):
    monkeypatch.setattr("scarlet_tf.run.methods.search_role", lambda: "chief")
    config = parse_config({**CONFIG, "name": "chief", "search": {**CONFIG["search"], "score": "predictor"}})
    with pytest.raises(InputError, match=r"search\.score: expected loss or accuracy in a search of several processes"):
        SupernetSearch().examine(Run(config, tmp_path))
