"""The CSV table and TensorBoard's events of a training, over interruptions too."""

import csv
import importlib.util

import keras
import pytest
import tensorflow as tf
from test_train_supernet import Interrupt, data
from tiny import tiniest_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.config import FinetuneConfig, RetrainConfig
from scarlet_tf.training.network import retrain
from scarlet_tf.training.supernet import train_supernet

SPACE = tiniest_space()
CONFIG = {"epochs": 3, "batch_size": 10, "learning_rate": 0.05, "execution": "sequential"}
LOGGED = {**CONFIG, "csv": True}
ARCHITECTURE = Architecture((0,) * SPACE.num_layers, SPACE)
RETRAINING = {"epochs": 2, "batch_size": 10, "learning_rate": 0.05, "optimizer": "sgd", "warmup_epochs": 0}
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs the package tensorboard"
)


def train(config, run_dir, **options):
    return train_supernet(
        Supernet(SPACE, num_classes=5), data(), config, validation_data=data(20), run_dir=run_dir, **options
    )


def table(run_dir):
    with (run_dir / "supernet" / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_an_epoch(tmp_path):
    history = train({**LOGGED, "monitor_paths": 3}, tmp_path)["history"]
    rows = table(tmp_path)
    names = ["epoch", "accuracy", "loss", "panel_accuracy", "panel_deviation", "skip_bias", "stability"]
    assert list(rows[0]) == names
    assert [{name: row[name] for name in names} for row in rows] == [
        {name: str(row.get(name, "NA")) for name in names} for row in history
    ]


def test_a_tables_lines_end_alike(tmp_path):
    """As the csv module writes them; a text file of Windows would end them with a return too many."""
    train(LOGGED, tmp_path)
    lines = (tmp_path / "supernet" / "log.csv").read_bytes().splitlines(keepends=True)
    assert {line[-2:] for line in lines} == {b"\r\n"} and not any(line.endswith(b"\r\r\n") for line in lines)


def test_a_resumed_table_has_no_row_twice(tmp_path):
    """The checkpoint is two epochs old when the process is killed: their rows are written again."""
    stop = Interrupt(9, RuntimeError("killed"))
    with pytest.raises(RuntimeError):
        train(LOGGED, tmp_path, callbacks=[stop])
    assert len(table(tmp_path)) == 2
    with (tmp_path / "supernet" / "log.csv").open("a") as file:
        file.write("2,0.1")  # torn
    history = train({**LOGGED, "monitor_paths": 3}, tmp_path)["history"]
    rows = table(tmp_path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [row["loss"] for row in rows] == [str(row["loss"]) for row in history]


def test_columns_of_before_are_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(LOGGED, tmp_path, callbacks=[Interrupt(6, KeyboardInterrupt())])
    train({**LOGGED, "monitor_paths": 3}, tmp_path)
    rows = table(tmp_path)
    assert [row["panel_accuracy"] == "NA" for row in rows] == [True, False, False]
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]


def events(folder):
    """{tag: {step: value}} of all events files in the folder."""
    found = {}
    for file in sorted(folder.glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return found


@needs_tensorboard
def test_tensorboard_draws_validation_beside_training(tmp_path):
    """Keras' names: what begins with val_ goes to a second folder under the same tag, and into the same diagram."""
    config = {**RETRAINING, "tensorboard": True}
    _, figures = retrain(ARCHITECTURE, data(), data(20), config, run_dir=tmp_path, num_classes=5)
    for folder, prefix in (("train", ""), ("validation", "val_")):
        found = events(tmp_path / "retrain" / "tensorboard" / folder)
        for name in ("loss", "accuracy"):
            assert [found[f"epoch_{name}"][row["epoch"]] for row in figures["history"]] == pytest.approx(
                [row[prefix + name] for row in figures["history"]]
            )


def test_keras_early_stopping_reads_the_validation(tmp_path):
    """With its default monitor, val_loss: a change of at least 100 never comes, so the third epoch is not begun."""
    stop = keras.callbacks.EarlyStopping(min_delta=100, patience=1)
    config = {**RETRAINING, "epochs": 4}
    _, figures = retrain(ARCHITECTURE, data(), data(20), config, callbacks=[stop], num_classes=5)
    assert len(figures["history"]) == 2


@needs_tensorboard
def test_tensorboard_gets_the_epochs(tmp_path):
    config = {**CONFIG, "tensorboard": True, "monitor_paths": 3}
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, callbacks=[Interrupt(6, KeyboardInterrupt())])
    history = train(config, tmp_path)["history"]
    found = events(tmp_path / "supernet" / "tensorboard" / "train")
    assert set(found["epoch_learning_rate"]) == {0, 1, 2}
    for name in ("loss", "accuracy", "panel_accuracy"):
        assert [found[f"epoch_{name}"][row["epoch"]] for row in history] == pytest.approx(
            [row[name] for row in history]
        )


def test_tensorboard_that_is_not_installed_is_bad_input(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^tensorboard: expected the package tensorboard.*scarlet_tf\[tensorboard\]"):
        train({**CONFIG, "tensorboard": True}, tmp_path)


@pytest.mark.parametrize("key", ["csv", "tensorboard"])
def test_log_files_need_a_folder_and_a_switch(key):
    with pytest.raises(InputError, match=f"supernet.{key}: expected false without a run_dir, got true"):
        train({**CONFIG, key: True}, None)
    with pytest.raises(InputError, match=f"supernet.{key}: expected true or false, got 1"):
        train({**CONFIG, key: 1}, None)


def test_retraining_leaves_a_table_beside_its_network(tmp_path):
    _, figures = retrain(ARCHITECTURE, data(), data(20), {**RETRAINING, "csv": True}, run_dir=tmp_path, num_classes=5)
    with (tmp_path / "retrain" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert list(rows[0]) == names
    assert rows == [{name: str(row[name]) for name in names} for row in figures["history"]]


@pytest.mark.parametrize(("config", "section"), [(RetrainConfig, "retrain"), (FinetuneConfig, "finetune")])
def test_every_training_has_the_switches(config, section):
    assert config(csv=True, tensorboard=True).tensorboard
    with pytest.raises(InputError, match=f"{section}.csv: expected true or false, got 1"):
        config(csv=1)
