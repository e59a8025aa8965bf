"""The study of rungs: its figures by hand, its snapshots against a race's rungs, and what is kept or refused."""

import pathlib
import sys
import types
from unittest import mock

import numpy as np
import pytest
from tiny import images_and_labels, tiniest_space

import scarlet_tf as st
import study_rungs as study
from scarlet_tf.config import load_config
from scarlet_tf.data.inputs import as_split

DIGITS = pathlib.Path(__file__).parents[2] / "configs" / "digits.yaml"
# Accuracy and loss of four networks at two rungs, and their accuracies on test images.
RUNGS = (
    ((0.9, 0.30), (0.9, 0.20), 0.80),
    ((0.9, 0.10), (1.0, 0.40), 0.95),
    ((0.8, 0.20), (0.9, 0.10), 0.90),
    ((0.7, 0.40), (0.7, 0.50), 0.70),
)


def row(first, last, test):
    rungs = [{"accuracy": accuracy, "loss": loss} for accuracy, loss in (first, last)]
    return {"averaged": rungs, "raw": rungs, "test": {"accuracy": test, "loss": 1 - test}}


ROWS = [row(*each) for each in RUNGS]


def test_orders_and_what_they_tell_by_hand():
    """By accuracy 1, 0, 2, 3, then 1, 2, 0, 3; by loss 1, 2, 0, 3, then 2, 0, 1, 3. The truth is 1, 2, 0, 3."""
    assert [study.order(ROWS, "raw", "accuracy", rung).tolist() for rung in (0, 1)] == [[1, 0, 2, 3], [1, 2, 0, 3]]
    assert [study.order(ROWS, "raw", "loss", rung).tolist() for rung in (0, 1)] == [[1, 2, 0, 3], [2, 0, 1, 3]]
    accuracy, loss = (study.told(ROWS, "averaged", rule) for rule in study.RULES)
    assert accuracy["tau_test_0"] == accuracy["tau_last_0"] == pytest.approx(4 / 6)
    assert accuracy["tau_test_1"] == loss["tau_test_0"] == loss["tau_test_loss_0"] == pytest.approx(1)
    assert loss["tau_last_0"] == loss["tau_test_1"] == pytest.approx(2 / 6)
    assert (accuracy["regret_1"], accuracy["regret_race"]) == (0, 0)
    assert loss["regret_1"] == pytest.approx(5) and loss["regret_half_1"] == pytest.approx(5)
    assert loss["regret_race"] == pytest.approx(5)  # 1 and 2 go on, and 2 has the smaller loss then


def test_means_over_seeds_and_intervals_over_networks():
    values = np.array([[1.0, 3.0], *[[k, k + 2.0] for k in range(101)]])
    assert study.interval(values) == [2.0, 3.5, 98.5]
    assert study.interval(np.array([[1.0, np.nan]])) == [1.0, 1.0, 1.0]
    rows = study.studied([ROWS, ROWS], resamples=20, seed=0)
    found = {each["figure"]: each for each in rows if each["weights"] == "averaged"}
    assert found["tau_test_1"]["difference"][0] == pytest.approx(2 / 6 - 1, abs=1e-4)
    assert found["regret_race"]["accuracy"][0] == 0 and found["regret_race"]["loss"][0] == pytest.approx(5)


@pytest.mark.slow
def test_figures_at_the_rungs_are_those_of_a_race(rng, tmp_path):
    """The first rung ends inside an epoch; raw weights with an average differ from it."""
    split, network = as_split(images_and_labels(rng, 40)), st.Architecture((0,), tiniest_space())
    data = types.SimpleNamespace(train=split, validation=split, test=split, num_classes=5)
    settings = {
        "epochs": 4,
        "batch_size": 10,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "warmup_epochs": 0,
        "ema": 0.9,
    }
    found = study.trained(network, data, st.RetrainConfig(**settings), (0.4, 1.0))
    [raced] = st.race(
        [network], split, split, settings, tmp_path, race_config={"rungs": [0.4, 1]}, num_classes=5
    ).entrants
    assert [each["loss"] for each in found["averaged"]] == [rung["loss"] for rung in raced["rungs"]]
    assert found["test"] == found["averaged"][-1]
    assert found["raw"][0]["loss"] != found["averaged"][0]["loss"]


def options(**changes):
    return types.SimpleNamespace(
        **{"config": str(DIGITS), "set": [""], "networks": 3, "draw": 0, "seeds": [0, 1], **changes}
    )


def test_what_is_kept_is_not_trained_again(tmp_path, monkeypatch):
    calls = []

    def trained(network, data, settings, shares):
        calls.append((network.choices, settings.seed))
        assert settings.validate_every_epochs == settings.epochs and shares == (0.25, 0.5, 1.0)
        return {**ROWS[len(calls) % 4], "cpu_seconds": 0.0}

    monkeypatch.setattr(study, "trained", trained)
    config, file = load_config(DIGITS), tmp_path / "results.jsonl"
    first = study.trainings(config, options(), file)
    assert [len(rows) for rows in first] == [3, 3] and len(set(calls)) == 6
    costs = [st.count(st.Architecture(choices, config.space), 16, 10).multiply_adds for choices, _ in calls[:3]]
    assert costs == sorted(costs) and costs[-1] < 0.6e6 <= 2.1 * costs[0]
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    again = study.trainings(config, options(), file)
    assert len(calls) == 7 and calls[6] == calls[2] and [again[0][:2], again[1]] == [first[0][:2], first[1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "1"], "--networks: expected from 2 to "),
        (
            ["--set", "retrain.teacher=x.keras"],
            "expected a recipe whose networks start from scratch, without a teacher",
        ),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, capsys):
    command = ["study_rungs.py", "--config", str(DIGITS), "--out", str(tmp_path), *arguments]
    with (
        mock.patch.object(sys, "argv", command),
        mock.patch.object(study, "use_threads"),
        pytest.raises(SystemExit) as end,
    ):
        study.main()
    found = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and "study_rungs.py: error: " in found[-1] and message in found[-1]
