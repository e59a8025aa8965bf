"""The verdict: which file to take, whether the budget is met and the ranking is worth anything."""

import pytest
from made_run import figures, file, made_record, unfinished_record

from scarlet_tf.report.blocks import BAD, FAIR, GOOD, UNKNOWN
from scarlet_tf.report.findings import cards, headline, recommended, way_on
from scarlet_tf.report.views import FinetuneView


def test_the_recommended_file_runs_in_one_piece_and_is_the_smallest_of_those():
    assert recommended(made_record().certificate.files)["file"] == "model_int8.tflite"


@pytest.mark.parametrize(
    ("int8", "expected"),
    [
        (file("model_int8.tflite", 10, 1, top1=0.864), "model_float32.tflite"),  # 1.1 points less
        (file("model_int8.tflite", 10, 1, passed=False), "model_float32.tflite"),
        (file("saved_model/1", 10, 1), "model_float32.tflite"),
        (file("model_int8.tflite", 10, 1, top1=0.866), "model_int8.tflite"),
    ],
)
def test_a_file_that_lost_accuracy_or_failed_a_check_is_not_recommended(int8, expected):
    assert recommended([file("model_float32.tflite", 4096, 1), int8])["file"] == expected


def test_no_file_is_recommended_where_none_passed():
    record = made_record(
        certificate={**figures()["export/certificate.json"], "files": [file("a.tflite", 1, 1, passed=False)]}
    )
    assert (cards(record)[2].value, cards(record)[2].tone) == ("none", BAD)


def test_a_finished_run_is_told_in_one_sentence():
    assert headline(made_record()) == (
        "The run found a network of 0.300 M multiply-adds that recognises 87.50 % of 20 test images of digits."
    )
    assert way_on(made_record()) is None


def test_an_unfinished_run_names_the_next_stage_and_the_command():
    assert headline(unfinished_record(1)) == "Unfinished: the next stage is search."
    assert way_on(unfinished_record(1)) == "scarlet run runs/made/config.yaml --run-dir runs/made"
    assert {card.tone for card in cards(unfinished_record())} == {UNKNOWN}


def test_a_missed_bound_is_said():
    found = cards(made_record(keeps_bounds=False))[1]
    assert (found.value, found.tone) == ("no", BAD)
    assert "multiply-adds < 0.40 M" in found.text


@pytest.mark.parametrize(
    ("tau", "low", "tone", "words"),
    [(0.8, 0.6, GOOD, "good"), (0.5, 0.2, FAIR, "rough"), (0.3, 0.1, BAD, "poor"), (0.5, -0.1, BAD, "chance")],
)
def test_the_ranking_is_judged_by_tau_and_its_interval(tau, low, tone, words):
    ranking = figures()["ranking/result.json"]
    other = {"tau": 0.95, "low": 0.9, "high": 1.0}
    measured = {
        "recalibrated": other,
        "loss": other,
        "score": {"tau": tau, "low": low, "high": 0.9},
        "predicted": other,
    }
    card = cards(made_record(ranking={**ranking, "tau": measured}))[3]
    assert (card.value, card.tone) == (f"tau {tau:.2f}", tone)
    assert words in card.text


def test_without_a_ranking_the_monitor_speaks_and_the_command_is_named():
    card = cards(made_record(ranking=None))[3]
    assert (card.value, card.tone) == ("nothing against it", FAIR)
    assert card.command == "scarlet rank runs/made/config.yaml --run-dir runs/made"


def test_a_fine_tuned_network_has_no_ranking_and_no_budget():
    labels = [card.label for card in cards(made_record(view=FinetuneView()))]
    assert labels == ["How accurate is it?", "What does it cost?", "Which file goes on the phone?"]


def test_a_network_that_guesses_and_a_supernet_that_learned_nothing_are_marked():
    network = figures()["retrain/result.json"]
    test = {"accuracy": 0.1, "num_examples": 400, "most_frequent": 0.125, "above_chance": False}
    accuracy, *_, trust = cards(
        made_record(network={**network, "test": test}, supernet={"not_learning": {"text": "so"}}, ranking=None)
    )
    assert (accuracy.value, accuracy.tone) == ("10.00 %: not better than chance", BAD)
    assert "is not above the 12.50 % of their most frequent class" in accuracy.text
    assert (trust.value, trust.tone) == ("no", BAD)
