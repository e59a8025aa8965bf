"""Scores by a predictor: what they are worth, and a search that compares by them."""

from unittest import mock

import numpy as np
import pytest
from test_predictor import DIFFERENT, FIGURES, accuracies
from test_rank import CONFIG

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.config import parse_config
from scarlet_tf.results import SupernetResult
from scarlet_tf.run import run_ranking, run_stage
from scarlet_tf.run.folder import Run, open_existing
from scarlet_tf.run.methods import SupernetSearch
from scarlet_tf.run.scoring import PredictedScores, warn_of_few_steps
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
    alone_known = PredictedScores(None, FIGURES, rows)  # without a supernet
    alone_known.begin_generation([(0, 1, 2, 3)])
    plain = np.maximum(Predictor(FIGURES, networks, alone).predict(DIFFERENT) - 0.01, 0)
    told = [alone_known.evaluate(tuple(path)) for path in DIFFERENT.tolist()]
    assert alone_known.num_ready == 0 and set(told[0]) == {"accuracy", "score"}
    np.testing.assert_allclose([[one["accuracy"], one["score"]] for one in told], np.stack([plain, plain], axis=1))
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


def test_a_run_without_a_supernet_searches_what_a_model_of_trainings_predicts(tmp_path, monkeypatch):
    search = {**CONFIG["search"], "score": "predictor", "population_size": 2, "generations": 2, "picks": 1}
    supernet = {**CONFIG["supernet"], "epochs": 0}
    config = parse_config({**CONFIG, "name": "alone", "search": search, "supernet": supernet})
    assert config.without_supernet and config.known_by == "predicted"
    monkeypatch.setattr("scarlet_tf.run.scoring.evaluator_of", mock.Mock(side_effect=AssertionError("no supernet")))
    made = mock.Mock(side_effect=[{"accuracy": value} for value in (0.5, 0.8, 0.6, 0.7)])
    monkeypatch.setattr("scarlet_tf.assessment.ranking._train", made)
    run_stage("train-supernet", config, tmp_path)
    run_stage("search", config, tmp_path)
    run = open_existing(tmp_path)
    found, ranked = run.get(SearchResult), read_json(tmp_path / "ranking/result.json")
    assert run.get(SupernetResult).steps == 0 and not list(tmp_path.glob("supernet/checkpoint*"))
    assert made.call_count == len(ranked["networks"]) == 3
    assert set(ranked["tau"]) == {"predicted"} and "one_shot_loss" not in ranked["networks"][0]
    assert all(one.score == one.accuracy for one in found.pareto)
    with pytest.raises(InputError, match=r"retrain\.init: expected scratch with supernet\.epochs: 0"):
        wrong = {**CONFIG, "name": "w", "search": search, "supernet": supernet}
        wrong["retrain"] = {**CONFIG["retrain"], "init": "supernet"}
        SupernetSearch().examine(Run(parse_config(wrong), tmp_path / "w"))


def test_several_processes_do_not_share_a_predictor(monkeypatch, tmp_path):
    monkeypatch.setattr("scarlet_tf.run.methods.search_role", lambda: "chief")
    config = parse_config({**CONFIG, "name": "chief", "search": {**CONFIG["search"], "score": "predictor"}})
    with pytest.raises(InputError, match=r"search\.score: expected loss or accuracy in a search of several processes"):
        SupernetSearch().choose(Run(config, tmp_path), None)
    SupernetSearch().examine(Run(config, tmp_path))  # they share its trainings, by `scarlet rank`, and the race


def test_too_short_a_training_is_told_beforehand(tmp_path, caplog):
    def told(**supernet):
        config = parse_config({**CONFIG, "name": "short", "supernet": {**CONFIG["supernet"], **supernet}})
        caplog.clear()
        warn_of_few_steps(Run(config, tmp_path / "none"))
        return caplog.text

    assert "supernet.epochs: each choice is trained in 12 steps" in told()  # 2 epochs of 300 images, 50 a step
    assert "ranking.architectures (3)" in caplog.text
    assert told(epochs=67) == ""  # 402 steps
    assert "is trained in 201 steps" in told(epochs=67, sampling="uniform")  # one of two choices in each
