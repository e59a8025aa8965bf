"""A whole run that starts from a Keras model in a file."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras_networks import randomised, tiny
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.config import parse_config
from scarlet_tf.config.from_parent import load_parent
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.run.stages import run_all
from scarlet_tf.training.supernet import train_supernet


def write_parent(path, seed):
    """A small network that scales its images itself."""
    network = randomised(tiny(32), np.random.default_rng(seed))
    image = keras.Input((32, 32, 3))
    keras.Model(image, network(keras.layers.Rescaling(1 / 127.5, -1.0)(image))).save(path)


@pytest.fixture
def config(tmp_path):
    write_parent(tmp_path / "parent.keras", 0)
    values = {
        "data": {"image_size": 32, "max_train_examples": 200, "max_test_examples": 60, "validation_examples": 40},
        "parent": {"name": "parent.keras", "images": 64},
        "supernet": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "sampling": "sandwich", "distillation": 0.5},
        "search": {"population_size": 2, "generations": 2, "picks": 1},
        "race": "off",
        "retrain": {"epochs": 1, "batch_size": 16, "optimizer": "adamw", "learning_rate": 1e-3, "teacher": "parent"},
        "export": {"formats": ["float32", "int8"], "saved_model": False, "benchmark_threads": 0},
    }
    return parse_config(values, folder=tmp_path)


def test_every_stage_knows_the_parent(config, tmp_path):
    """One of fewer channels than the file's."""
    values = config.to_dict()
    config = parse_config(values | {"parent": values["parent"] | {"width_multiplier": 0.5}})
    summary = run_all(config, tmp_path / "run")
    parent = load_parent(config.parent.name).narrowed(0.5)
    assert parent.name == "parent_x0.5" and config.space.stages[0].hidden_channels == (8, 8)
    stated = {"name": parent.name, "source": parent.source, "fingerprint": parent.fingerprint}
    certificate = json.loads((tmp_path / "run" / "export" / "certificate.json").read_text())
    assert certificate["details"]["parent"] == stated
    assert json.loads((tmp_path / "run" / "retrain" / "result.json").read_text())["parent"] == stated
    assert summary["report"]
    metadata = json.loads((tmp_path / "run" / "export" / "model_float32.json").read_text())
    assert metadata["provenance"]["parent"] == stated
    write_parent(tmp_path / "parent.keras", 1)
    for file in ("retrain/result.json", "pareto.json", "supernet/result.json"):
        (tmp_path / "run" / file).unlink()
    with pytest.raises(InputError, match="parent"):
        run_all(config, tmp_path / "run")


def test_a_supernet_without_training_is_searched(config, tmp_path):
    settings = {
        "supernet": dataclasses.replace(config.supernet, epochs=0),
        "retrain": dataclasses.replace(config.retrain, teacher=None),
    }
    settings["search"] = dataclasses.replace(config.search, input_sizes=(24, 32))
    run_all(dataclasses.replace(config, **settings), tmp_path / "run")
    sizes = json.loads((tmp_path / "run" / "search" / "sizes" / "result.json").read_text())
    best = max(sizes["measured"], key=lambda row: (row["accuracy"], -row["input_size"]))
    assert sizes["chosen"] == best["input_size"] and [row["input_size"] for row in sizes["measured"]] == [24, 32]
    assert json.loads((tmp_path / "run" / "pareto.json").read_text())["input_size"] == sizes["chosen"]
    metadata = json.loads((tmp_path / "run" / "export" / "model_float32.json").read_text())
    assert metadata["preprocessing"]["image_size"] == sizes["chosen"]
    result = json.loads((tmp_path / "run" / "supernet" / "result.json").read_text())
    assert (result["history"], result["steps"]) == ([], 0)
    assert (tmp_path / "run" / "report.html").exists()


def test_without_a_parent_a_supernet_has_to_be_trained():
    images = np.zeros((8, 16, 16, 3), np.float32), np.arange(8) % 2
    with pytest.raises(InputError, match=r"supernet\.epochs: expected at least 1 without a parent"):
        train_supernet(Supernet(tiny_space(), num_classes=2), images, {"epochs": 0, "batch_size": 4})
