import os
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, tiny_space

from scarlet_tf.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space import Choice, Stage
from scarlet_tf.training.supernet import SupernetConfig, train_supernet

SPACE = tiny_space(stages=(Stage(8, 2, 1),), choices=(Choice(2, 3), Choice()))
CONFIG = {"epochs": 3, "batch_size": 10, "learning_rate": 0.05, "execution": "lanes"}


def data(count=40):
    return images_and_labels(np.random.default_rng(0), count)


def weights(supernet):
    return [np.array(v) for v in supernet.variables]


class Interrupt(keras.callbacks.Callback):
    """Raises in the middle of an epoch."""

    def __init__(self, batch, error):
        super().__init__()
        self.left, self.error = batch, error

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise self.error


@pytest.mark.parametrize(
    "options", [{}, {"execution": "sequential"}, {"execution": "sequential", "sampling": "uniform"}]
)
def test_training_lowers_the_loss(options):
    history = train_supernet(Supernet(SPACE, num_classes=5), data(), {**CONFIG, "epochs": 8, **options})["history"]
    assert len(history) == 8
    assert history[-1]["loss"] < history[0]["loss"] - 0.1


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path):
    """Interrupted twice, once on a checkpoint and once between two: bit by bit the weights of the run that was not."""
    reference = Supernet(SPACE, num_classes=5)
    straight = train_supernet(reference, data(), CONFIG)
    for batch, error, seconds in ((3, KeyboardInterrupt(), 60), (4, RuntimeError("killed"), 0)):
        with pytest.raises(type(error)):
            config = {**CONFIG, "checkpoint_seconds": seconds}
            train_supernet(
                Supernet(SPACE, num_classes=5, seed=9), data(), config, None, tmp_path, [Interrupt(batch, error)]
            )
    resumed_net = Supernet(SPACE, num_classes=5, seed=9)  # its own weights are replaced by the checkpoint's
    # The checkpoint was made by a supernet of seed 9; the reference must start from the same weights.
    reference = Supernet(SPACE, num_classes=5, seed=9)
    straight = train_supernet(reference, data(), CONFIG)
    resumed = train_supernet(resumed_net, data(), CONFIG, run_dir=tmp_path)
    assert resumed == straight
    for one, other in zip(weights(reference), weights(resumed_net), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_killed_process_resumes_to_the_same_weights(tmp_path):
    script = textwrap.dedent(f"""
        import sys
        sys.path[:0] = {[os.path.dirname(os.path.dirname(__file__)), os.path.dirname(__file__)]!r}
        import test_train_supernet as t
        t.train_supernet(t.Supernet(t.SPACE, num_classes=5), t.data(), {{**t.CONFIG, "checkpoint_seconds": 0}},
                         run_dir={str(tmp_path)!r}, callbacks=[t.SlowDown()])
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("step 7"):  # of 12
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    resumed, reference = (Supernet(SPACE, num_classes=5) for _ in range(2))
    train_supernet(resumed, data(), CONFIG, run_dir=tmp_path)
    train_supernet(reference, data(), CONFIG)
    for one, other in zip(weights(reference), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


class SlowDown(keras.callbacks.Callback):
    """Says where training is and leaves time to be killed there."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        import time

        self.steps += 1
        print("step", self.steps, flush=True)
        time.sleep(0.2)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = Supernet(SPACE, num_classes=5)
    train_supernet(first, data(), CONFIG, run_dir=tmp_path)
    again = Supernet(SPACE, num_classes=5, seed=5)
    stop = Interrupt(1, AssertionError("trained again"))
    assert len(train_supernet(again, data(), CONFIG, run_dir=tmp_path, callbacks=[stop])["history"]) == 3
    for one, other in zip(weights(first), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_configuration_is_refused(tmp_path):
    train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, run_dir=tmp_path)
    with pytest.raises(InputError, match="belongs to another run"):
        train_supernet(Supernet(SPACE, num_classes=5), data(), {**CONFIG, "learning_rate": 0.1}, run_dir=tmp_path)


def test_keras_callbacks_are_driven(tmp_path):
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, callbacks=[log])
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,accuracy,loss") and len(lines) == 4


def test_a_batched_dataset_can_be_trained_on():
    dataset = tf.data.Dataset.from_tensor_slices(data()).batch(10, drop_remainder=True)
    history = train_supernet(Supernet(SPACE, num_classes=5), dataset, CONFIG)["history"]
    assert history[-1]["loss"] < history[0]["loss"]


def test_mirrored_training_runs_and_learns(two_replicas):
    with two_replicas.scope():
        supernet = Supernet(SPACE, num_classes=5)
    history = train_supernet(supernet, data(), {**CONFIG, "epochs": 6}, two_replicas)["history"]
    assert history[-1]["loss"] < history[0]["loss"] - 0.1


def test_a_diverging_run_says_what_to_do():
    with pytest.raises(InputError, match="lower the learning rate"):
        train_supernet(Supernet(SPACE, num_classes=5), data(), {**CONFIG, "learning_rate": 1e30})


def test_a_folder_that_cannot_be_written_shows_before_training(tmp_path):
    (tmp_path / "supernet").write_text("a file where the folder should be")
    stop = Interrupt(1, AssertionError("trained before the folder was tried"))
    with pytest.raises(InputError, match="could not be written"):
        train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, run_dir=tmp_path, callbacks=[stop])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "supernet.epochs: expected a whole number >= 1, got 0"),
        ({"batch_size": 2.5}, "supernet.batch_size"),
        ({"learning_rate": float("nan")}, "supernet.learning_rate"),
        ({"momentum": 1.0}, "supernet.momentum"),
        ({"seed": -1}, "supernet.seed"),
        ({"sampling": "uniform"}, "supernet.execution"),
        ({"epoch": 3}, "epoch: unknown key"),
        ({"batch_size": 41}, "batch_size: it is larger"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(InputError, match=message):
        train_supernet(Supernet(SPACE, num_classes=5), data(), {**CONFIG, **change})


def test_defaults_are_the_papers():
    config = SupernetConfig()
    assert (config.epochs, config.batch_size, config.learning_rate, config.weight_decay) == (60, 256, 0.045, 4e-5)
    assert (config.skip, config.sampling) == ("let", "strict_fair")
