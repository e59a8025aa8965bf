"""Trainings that end in time: behind which step, with what checkpoint, and what can be done afterwards."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_train_supernet import Interrupt, data, weights
from tiny import tiniest_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training import supernet as supernet_module
from scarlet_tf.training.forecast import Deadline
from scarlet_tf.training.network import retrain
from scarlet_tf.training.supernet import train_supernet

# A clock does not ask what a step computes.
SPACE = tiniest_space()
CONFIG = {"epochs": 3, "batch_size": 10, "execution": "sequential", "sampling": "uniform"}
RETRAIN = {"epochs": 3, "batch_size": 10, "learning_rate": 0.01, "warmup_epochs": 0, "optimizer": "sgd", "ema": 0.0}


class Ticking(keras.callbacks.Callback):
    """A clock that goes on by a second a step, and `closing` seconds more an epoch."""

    def __init__(self, closing=0.0):
        super().__init__()
        self.now, self.closing = 0.0, closing

    def __call__(self):
        return self.now

    def on_train_batch_end(self, batch, logs=None):
        self.now += 1

    def on_epoch_end(self, epoch, logs=None):
        self.now += self.closing


def trained(monkeypatch, seconds, closing=0.0, **options):
    """Three epochs of four steps under a limit of so many seconds."""
    clock = Ticking(closing)
    monkeypatch.setattr(supernet_module, "Deadline", functools.partial(Deadline, clock=clock))
    supernet = Supernet(SPACE, num_classes=5)
    hours = seconds / 3600
    return supernet, train_supernet(supernet, data(), CONFIG, callbacks=[clock], max_hours=hours, **options)


@pytest.mark.parametrize(
    ("seconds", "closing", "steps"),
    [
        (12.3, 0, 12),  # 2 % are kept: 12.05
        (11, 0, 8),
        (8.5, 0, 8),  # 8.33: the second epoch fits
        (8, 0, 4),  # 7.84: it does not
        (11, 2, 4),  # with two seconds behind each epoch the second would end at 12
        (3.5, 0, 3),  # not even one epoch
        (0.5, 0, 1),
    ],
)
def test_training_ends_behind_the_last_epoch_that_fits(monkeypatch, seconds, closing, steps):
    _, figures = trained(monkeypatch, seconds, closing)
    assert figures["steps"] == steps
    history = figures["history"]
    assert len(history) == -(-steps // 4)
    assert history[-1].get("steps", 4) == (steps % 4 or 4)
    ended = {} if steps == 12 else {"stopped": "max_hours"}
    assert {key: value for key, value in figures.items() if key == "stopped"} == ended
    assert history[-1].get("stopped") == ended.get("stopped")


@pytest.mark.parametrize("seconds", [8, 3.5])
def test_an_ended_training_is_over_and_its_supernet_comes_back(monkeypatch, seconds, tmp_path):
    supernet, figures = trained(monkeypatch, seconds, run_dir=tmp_path)
    again = Supernet(SPACE, num_classes=5, seed=5)
    stop = Interrupt(1, AssertionError("trained again"))
    assert train_supernet(again, data(), CONFIG, run_dir=tmp_path, callbacks=[stop]) == figures
    for one, other in zip(weights(supernet), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_ctrl_c_behind_the_last_step_in_time_leaves_an_ended_training(monkeypatch, tmp_path):
    class InterruptAtTheEnd(Ticking):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    clock = InterruptAtTheEnd()
    monkeypatch.setattr(supernet_module, "Deadline", functools.partial(Deadline, clock=clock))
    options = {"run_dir": tmp_path, "callbacks": [clock], "max_hours": 3.5 / 3600}
    with pytest.raises(KeyboardInterrupt):
        train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, **options)
    assert train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, run_dir=tmp_path)["steps"] == 3


def test_the_schedule_is_not_rescaled(monkeypatch):
    """One epoch under a limit is the first of three, not a run of one epoch."""
    limited, _ = trained(monkeypatch, 8)

    class StopAfterOne(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    first = Supernet(SPACE, num_classes=5)
    train_supernet(first, data(), CONFIG, callbacks=[StopAfterOne()])
    for one, other in zip(weights(limited), weights(first), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_first_epoch_that_would_not_fit_takes_no_closing_figures(monkeypatch):
    history = trained(monkeypatch, 3.5)[1]["history"]
    config = {**CONFIG, "monitor_paths": 2}
    supernet = Supernet(SPACE, num_classes=5)
    clock = Ticking()
    monkeypatch.setattr(supernet_module, "Deadline", functools.partial(Deadline, clock=clock))
    figures = train_supernet(
        supernet, data(), config, callbacks=[clock], max_hours=3.5 / 3600, validation_data=data(20)
    )
    assert figures["history"] == history
    assert figures["monitor"]["text"] == "no epoch was measured"


def test_retraining_ends_in_time_and_is_finished_as_ever(tmp_path):
    architecture = Architecture((0,), SPACE)
    model, figures = retrain(architecture, data(), data(20), RETRAIN, run_dir=tmp_path, max_hours=1e-9)
    assert (figures["steps"], figures["stopped"]) == (1, "max_hours")
    assert figures["validation"]["num_examples"] == 20
    assert (tmp_path / "retrain" / "model.keras").exists()
    again, repeated = retrain(architecture, data(), data(20), RETRAIN, run_dir=tmp_path)
    assert repeated == figures
    for one, other in zip(weights(model), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("hours", [0, -1.0, float("nan"), float("inf"), True, "8"])
def test_bad_limits_are_named(hours):
    with pytest.raises(InputError, match="max_hours: expected a number > 0, got"):
        train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, max_hours=hours)


def test_several_workers_have_no_common_clock():
    strategy = object.__new__(tf.distribute.MultiWorkerMirroredStrategy)
    with pytest.raises(InputError, match="max_hours: expected none with several workers"):
        Deadline("supernet", 1.0, 4, 3, strategy)
