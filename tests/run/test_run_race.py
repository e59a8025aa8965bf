"""Whole runs with a race: the winner is what every later stage delivers."""

import json

import pytest

from scarlet_tf import run as runs
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.config import parse_config
from scarlet_tf.models.network import load_network
from scarlet_tf.results import RaceResult
from scarlet_tf.run.stages import stages_of

VALUES = {
    "data": {"source": "digits", "image_size": 8, "max_train_examples": 120, "max_test_examples": 100},
    "space": {
        "name": "tiniest",
        "stages": [{"channels": 8, "depth": 2, "stride": 2}],
        "choices": [{"expansion": 2, "kernel_size": 3}, {"expansion": 3, "kernel_size": 3}, {"skip": True}],
        "stem_channels": 8,
        "stem_stride": 1,
        "first_channels": 8,
        "tail_channels": 16,
    },
    "supernet": {"epochs": 1, "batch_size": 40, "learning_rate": 0.05},
    "search": {"population_size": 2, "generations": 2, "picks": 1, "recalibration_batches": 1},
    "race": {"finalists": 1, "rivals": ["uniform"], "rungs": [0.5, 1]},
    "retrain": {
        "epochs": 2,
        "batch_size": 40,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "warmup_epochs": 0,
        "ema": 0,
        "recalibration_batches": 0,
    },
    "export": {"formats": ["float32"], "saved_model": False, "verification_examples": 50, "benchmark_threads": 0},
}


def config(**changes):
    return parse_config(VALUES | {key: VALUES.get(key, {}) | value for key, value in changes.items()})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("race") / "run"
    return folder, runs.run_all(config(), folder)


def test_the_winner_is_what_the_run_delivers(finished):
    folder, summary = finished
    raced = RaceResult.read(folder, config().space)
    winner = raced.row(raced.winner)
    result, certificate = (read_json(folder / name) for name in ("retrain/result.json", "export/certificate.json"))
    assert summary["pick"]["architecture"] == winner["architecture"]
    assert result["steps"] == raced.goals[-1] and result["validation"]["accuracy"] == winner["rungs"][-1]["accuracy"]
    assert result["race"]["winner"] == raced.winner == summary["race"]["winner"]
    assert certificate["details"]["race"]["verdict"] == list(raced.verdict) and raced.verdict
    assert "race/result.json" in str(certificate["other_files"])
    assert runs.verify_run(folder)["passed"]
    networks = [load_network(folder / part / "model.keras") for part in (f"race/{raced.winner}/retrain", "retrain")]
    for ours, theirs in zip(*(network.get_weights() for network in networks), strict=True):
        assert (ours == theirs).all()
    page, text = ((folder / name).read_text() for name in ("report.html", "export/certificate.md"))
    assert raced.verdict[0].capitalize()[:20] in page and "## Race" in text
    assert (
        json.loads((folder / "export/model_float32.json").read_text())["provenance"]["race"]["winner"] == raced.winner
    )


def test_a_race_alone_and_the_stage_after_it(finished):
    folder, _ = finished
    assert runs.run_stage("race", config(), folder)["winner"]
    with pytest.raises(InputError, match=r"race\.rungs"):
        runs.run_stage("race", config(race={"rungs": [0.25, 1]}), folder)


def test_which_runs_race():
    def stages(**changes):
        return [stage.name for stage in stages_of(config(**changes))]

    assert stages() == ["train-supernet", "search", "race", "retrain", "export"]
    assert "race" not in stages(race={"finalists": 0})
    assert "race" not in stages(retrain={"pick": 0})
    bounds = {"picks": {"small": {"multiply_adds": 1e5}, "good": {"accuracy": 0.5}, "mine": "0,1"}}
    assert "race" in stages(search=bounds, retrain={"pick": "small"})
    assert "race" not in stages(search=bounds, retrain={"pick": "good"})
    assert "race" not in stages(search=bounds, retrain={"pick": "mine"})


def test_int8_can_only_judge_what_is_exported(tmp_path):
    with pytest.raises(InputError, match=r"race\.judge: expected float32, since export.formats has no int8"):
        runs.run_all(config(race={"judge": "int8"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
