"""The command line on images that say nothing of their classes, and with a learning rate that breaks the weights."""

import json

import numpy as np
import pytest
import tensorflow as tf
import yaml

from scarlet_tf import cli
from scarlet_tf.training.learning import FILE

CONFIG = {
    "name": "noise",
    "data": {"source": "folder", "image_size": 8, "test_fraction": 0.4, "validation_fraction": 0.2},
    "space": {
        "name": "tiniest",
        "stem_channels": 8,
        "stem_stride": 1,
        "first_channels": 8,
        "stages": [{"channels": 8, "depth": 1, "stride": 1}],
        "choices": [{"expansion": 2, "kernel_size": 3}, {"skip": True}],
        "tail_channels": 16,
    },
    "supernet": {"epochs": 3, "batch_size": 16, "learning_rate": 0.1},
    "search": {"population_size": 2, "generations": 2, "recalibration_batches": 1},
    "race": "off",
    "retrain": {"epochs": 1, "batch_size": 16, "optimizer": "sgd", "learning_rate": 0.1, "warmup_epochs": 0, "ema": 0},
    "export": {"formats": ["float32"], "saved_model": False, "benchmark_threads": 0, "verification_examples": 50},
}


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    """A configuration for three classes of 50 images each, all of the same noise."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for number, pixels in enumerate(rng.integers(0, 256, (150, 8, 8, 3), np.uint8)):
        path = folder / "images" / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(pixels).numpy())
    path = folder / "noise.yaml"
    data = {**CONFIG["data"], "directory": str(folder / "images")}
    path.write_text(yaml.safe_dump({**CONFIG, "data": data}))
    return path


def test_labels_that_say_nothing_end_with_files_that_are_marked(config_file, tmp_path, capsys):
    assert cli.main(["run", str(config_file), "--run-dir", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert "supernet: nothing is learned" in err and "try supernet.learning_rate: 0.05" in err
    assert "the network is not better than chance: top-1 of" in err
    assert "nothing is learned" in out and "not better than chance" in out  # the closing table
    test = json.loads((tmp_path / "run/retrain/result.json").read_text())["test"]
    assert test["num_examples"] == 60 and test["most_frequent"] == pytest.approx(1 / 3) and not test["above_chance"]
    warnings = json.loads((tmp_path / "run/summary.json").read_text())["warnings"]
    assert warnings and "not better than chance" in warnings[-1]
    assert (tmp_path / "run/export/model_float32.tflite").exists()
    assert "not better than chance" in (tmp_path / "run/export/certificate.md").read_text()
    page = (tmp_path / "run/report.html").read_text()
    assert "not better than chance" in page and "nothing is learned" in page


def test_a_loss_that_is_not_finite_ends_the_run_with_advice_and_a_report(config_file, tmp_path, capsys):
    arguments = ["run", str(config_file), "--run-dir", str(tmp_path / "run"), "--set", "supernet.learning_rate=1e30"]
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert "supernet: the loss became" in err and "try supernet.learning_rate: 0.05" in err and "Traceback" not in err
    assert (tmp_path / "run/supernet" / FILE).exists()
    assert list((tmp_path / "run/supernet").glob("checkpoint-*.npz"))
    assert "try supernet.learning_rate: 0.05" in (tmp_path / "run/report.html").read_text()
