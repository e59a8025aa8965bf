"""A race that the parent wins at another image size than the search's."""

import keras
import numpy as np
import pytest
from keras_networks import randomised, tiny

from scarlet_tf import run as runs
from scarlet_tf.base.files import read_json
from scarlet_tf.config import parse_config
from scarlet_tf.config.from_parent import load_parent
from scarlet_tf.models.network import load_network
from scarlet_tf.parents.around import sizes_and_costs
from scarlet_tf.parents.parent import Parent
from scarlet_tf.race import race as module
from scarlet_tf.results import RaceResult


@pytest.mark.slow
def test_a_parent_that_wins_at_another_size_is_delivered_at_that_size(tmp_path, monkeypatch):
    """The space is searched at 48 pixels, where the parent is beyond the budget; at 32 it is within."""
    network = randomised(tiny(48), np.random.default_rng(0))
    image = keras.Input((48, 48, 3))
    keras.Model(image, network(keras.layers.Rescaling(1 / 127.5, -1.0)(image))).save(tmp_path / "parent.keras")
    parent = load_parent(str(tmp_path / "parent.keras"))
    costs = dict(sizes_and_costs(parent, 10))
    values = {
        "data": {"image_size": 48, "max_train_examples": 100, "max_test_examples": 60, "validation_examples": 40},
        "parent": {"name": "parent.keras", "images": 64},
        "supernet": {"epochs": 0, "batch_size": 16},
        "search": {
            "population_size": 2,
            "generations": 2,
            "picks": 1,
            "upper_bounds": {"multiply_adds": (costs[32] + costs[48]) / 2},
        },
        "race": {"finalists": 1, "rivals": ["parent"], "rungs": [0.5, 1], "judge": "int8"},
        "retrain": {"epochs": 1, "batch_size": 16, "optimizer": "adamw", "learning_rate": 1e-3, "teacher": "parent"},
        "export": {"formats": ["float32", "int8"], "max_top1_drop": 1, "benchmark_threads": 0},
    }
    wanted, folder = parse_config(values, folder=tmp_path), tmp_path / "run"
    key = module._Race._key
    monkeypatch.setattr(
        module._Race, "_key", lambda race, entrant, rung: (entrant.kind != "rival", *key(race, entrant, rung))
    )
    summary = runs.run_all(wanted, folder)

    raced = RaceResult.read(folder, wanted.space)
    row = raced.row("parent")
    assert raced.winner == "parent" and raced.is_upset and row["input_size"] == 32
    assert row["multiply_adds"] == costs[32] and row["score"] is None
    assert all("int8" in one["rungs"][-1] for one in raced.entrants)
    assert [gain["against"] for gain in raced.gains] == ["finalist_1"]
    result, certificate = (read_json(folder / name) for name in ("retrain/result.json", "export/certificate.json"))
    assert result["input_size"] == summary["pick"]["input_size"] == 32 and result["multiply_adds"] == costs[32]
    assert certificate["passed"] and certificate["details"]["input_size"] == 32
    assert load_network(folder / "retrain" / "model.keras").spec.input_shape == (32, 32, 3)
    for name in ("model_float32", "model_int8"):
        metadata = read_json(folder / "export" / f"{name}.json")
        assert metadata["preprocessing"]["image_size"] == 32 and metadata["provenance"]["race"]["winner"] == "parent"
    assert runs.verify_run(folder)["passed"]
    page = (folder / "report.html").read_text()
    assert "A rival won the race, the parent at 32 pixels, and is delivered." in page
    again = Parent.from_file(folder)
    assert again.spec.input_shape == (32, 32, 3) and again.preprocessing.image_size == 32
