import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.inputs import ArraySplit
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.supernet import train_supernet

SPACE = tiny_space(stages=(Stage(8, 2, 1),), choices=(Choice(2, 3), Choice()))
CONFIG = {"epochs": 3, "batch_size": 10, "learning_rate": 0.05, "execution": "lanes"}


def data(count=40):
    return images_and_labels(np.random.default_rng(0), count)


def weights(supernet):
    return [np.array(v) for v in supernet.variables]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """(figures, weights, folder) of a training that nothing disturbed."""
    supernet, folder = Supernet(SPACE, num_classes=5), tmp_path_factory.mktemp("straight")
    figures = train_supernet(supernet, data(), CONFIG, run_dir=folder)
    return figures, weights(supernet), folder


def assert_same_weights(supernet, expected):
    for one, other in zip(weights(supernet), expected, strict=True):
        np.testing.assert_array_equal(one, other)


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
    "options",
    [
        {},
        {"execution": "sequential"},
        {"execution": "sequential", "sampling": "uniform"},
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
)
def test_training_lowers_the_loss(options):
    history = train_supernet(Supernet(SPACE, num_classes=5), data(), {**CONFIG, "epochs": 8, **options})["history"]
    assert len(history) == 8
    assert history[-1]["loss"] < history[0]["loss"] - 0.1


def test_an_interrupted_run_ends_with_the_same_weights(straight, tmp_path):
    """Interrupted twice, once on a checkpoint and once between two: bit by bit the weights of the run that was not."""
    for batch, error, seconds in ((3, KeyboardInterrupt(), 60), (4, RuntimeError("killed"), 0)):
        with pytest.raises(type(error)):
            config = {**CONFIG, "checkpoint_seconds": seconds}
            train_supernet(Supernet(SPACE, num_classes=5), data(), config, None, tmp_path, [Interrupt(batch, error)])
    resumed = Supernet(SPACE, num_classes=5, seed=9)  # its own weights are replaced by the checkpoint's
    assert train_supernet(resumed, data(), CONFIG, run_dir=tmp_path) == straight[0]
    assert_same_weights(resumed, straight[1])


def test_ctrl_c_within_a_step_leaves_a_whole_checkpoint(straight, tmp_path, monkeypatch, request):
    """The signal comes while TensorFlow computes; Python sees it when the weights have moved already."""
    default = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs may start with it ignored
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, default))
    step = SupernetStep.__call__

    def interrupted(self, images, labels, paths):
        figures = step(self, images, labels, paths)
        kill = tf.py_function(lambda: os.kill(os.getpid(), signal.SIGINT), [], [])
        with tf.control_dependencies([kill]):
            return {name: tf.identity(figure) for name, figure in figures.items()}

    # By the signal in the first, the fourth and the fifth step: over the end of an epoch, which has four.
    for steps, by_signal in ((1, True), (3, False), (4, True), (5, True)):
        callbacks = [] if by_signal else [Interrupt(2, KeyboardInterrupt())]
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            if by_signal:
                patched.setattr(SupernetStep, "__call__", interrupted)
            train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, run_dir=tmp_path, callbacks=callbacks)
        assert [path.name for path in (tmp_path / "supernet").iterdir() if str(steps) in path.name]
    resumed = Supernet(SPACE, num_classes=5)
    assert train_supernet(resumed, data(), CONFIG, run_dir=tmp_path) == straight[0]
    assert_same_weights(resumed, straight[1])


def test_ctrl_c_behind_the_last_step_of_an_epoch_keeps_its_figures(straight, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_supernet(
            Supernet(SPACE, num_classes=5),
            data(),
            CONFIG,
            run_dir=tmp_path,
            callbacks=[Interrupt(4, KeyboardInterrupt())],
        )
    assert train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, run_dir=tmp_path) == straight[0]


def test_a_process_that_was_killed_ends_with_the_same_weights(straight, tmp_path, rng):
    """`kill -9` at a random moment: within a step, while a checkpoint is written, or between."""
    script = textwrap.dedent(f"""
        import sys
        sys.path[:0] = {[os.path.dirname(os.path.dirname(__file__)), os.path.dirname(__file__)]!r}
        import test_train_supernet as t
        t.train_supernet(t.Supernet(t.SPACE, num_classes=5), t.data(), {{**t.CONFIG, "checkpoint_seconds": 0}},
                         run_dir={str(tmp_path)!r}, callbacks=[t.SlowDown()])
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("step 5"):  # of 12: in the second epoch
            time.sleep(rng.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    resumed = Supernet(SPACE, num_classes=5)
    train_supernet(resumed, data(), CONFIG, run_dir=tmp_path)
    assert_same_weights(resumed, straight[1])


class SlowDown(keras.callbacks.Callback):
    """Says where training is and leaves time to be killed there."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        print("step", self.steps, flush=True)
        time.sleep(0.2)


def test_a_finished_run_is_not_trained_again(straight):
    again = Supernet(SPACE, num_classes=5, seed=5)
    stop = Interrupt(1, AssertionError("trained again"))
    assert train_supernet(again, data(), CONFIG, run_dir=straight[2], callbacks=[stop]) == straight[0]
    assert_same_weights(again, straight[1])


def test_another_configuration_is_refused(straight):
    with pytest.raises(InputError, match="belongs to another run"):
        train_supernet(Supernet(SPACE, num_classes=5), data(), {**CONFIG, "learning_rate": 0.1}, run_dir=straight[2])


def test_a_supernet_with_another_skip_is_refused(straight):
    """LET and its ReLU ablation have the same weights by name and shape."""
    with pytest.raises(InputError, match="belongs to another run"):
        train_supernet(Supernet(SPACE, num_classes=5, skip="relu"), data(), CONFIG, run_dir=straight[2])


def test_keras_callbacks_are_driven(tmp_path):
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, callbacks=[log])
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,accuracy,loss") and len(lines) == 4


def test_callbacks_may_stop_training_and_see_the_optimizer():
    class StopAfterOne(keras.callbacks.Callback):
        rates = ()

        def on_epoch_end(self, epoch, logs=None):
            self.rates += (float(self.model.optimizer.learning_rate),)
            self.model.stop_training = True

    supernet, callback = Supernet(SPACE, num_classes=5), StopAfterOne()
    assert train_supernet(supernet, data(), CONFIG, callbacks=[callback])["steps"] == 4
    assert len(callback.rates) == 1 and not hasattr(supernet, "optimizer")
    assert train_supernet(supernet, data(), CONFIG)["steps"] == 12  # that stop is over


@pytest.fixture(scope="module")
def in_order():
    """The history of a training on arrays that are not shuffled."""
    return train_without_momentum(Ordered(*data()))


def train_without_momentum(source):
    return train_supernet(Supernet(SPACE, num_classes=5), source, {**CONFIG, "momentum": 0.0})["history"]


@pytest.mark.parametrize("batch, kind", [(10, np.int64), (4, np.uint8)])
def test_a_batched_dataset_trains_as_the_same_arrays_do(in_order, batch, kind):
    """Whatever its batch size and types: batches of CONFIG's size are made of it."""
    images, labels = data()
    dataset = tf.data.Dataset.from_tensor_slices((images, labels[:, None].astype(kind))).batch(batch)
    assert train_without_momentum(dataset) == in_order


class Ordered(ArraySplit):
    """Arrays that are not shuffled."""

    def batches(self, batch_size, *, training=False, **options):
        return super().batches(batch_size, training=False, **options)


def test_a_dataset_that_does_not_fit_is_named():
    images, labels = data()
    whole = tf.data.Dataset.from_tensor_slices((images, labels))
    masks = tf.data.Dataset.from_tensor_slices((images, np.zeros([len(labels), 8, 8]))).batch(10)
    for dataset in (whole, masks, whole.batch(10).map(lambda image, label: image)):
        with pytest.raises(InputError, match=r"expected a tf.data.Dataset of batches"):
            train_supernet(Supernet(SPACE, num_classes=5), dataset, CONFIG)
    for dataset, message in ((whole.batch(10).repeat(), "finite"), (whole.take(0).batch(10), "at least one image")):
        with pytest.raises(InputError, match=message):
            train_supernet(Supernet(SPACE, num_classes=5), dataset, CONFIG)


def test_labels_above_the_classes_are_refused():
    """One-hot encoding would make them rows of zeros, which cost nothing and teach nothing."""
    with pytest.raises(InputError, match="labels from 0 to 2, got 0 to 4"):
        train_supernet(Supernet(SPACE, num_classes=3), data(), CONFIG)
    dataset = tf.data.Dataset.from_tensor_slices(data()).batch(10)
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels from 0 to 2"):
        train_supernet(Supernet(SPACE, num_classes=3), dataset, CONFIG)


def test_mirrored_training_runs_and_learns(two_replicas):
    with two_replicas.scope():
        supernet = Supernet(SPACE, num_classes=5)
    history = train_supernet(supernet, data(), {**CONFIG, "epochs": 6}, two_replicas)["history"]
    assert history[-1]["loss"] < history[0]["loss"] - 0.1


@pytest.mark.parametrize("sampling", ["strict_fair", "uniform"])
def test_sequential_training_on_two_replicas_is_that_on_one_device(two_replicas, sampling):
    """With BN frozen: each replica would normalise by its own half. Fair steps alone move all weights in one function."""
    config = {
        **CONFIG,
        "epochs": 1,
        "execution": "sequential",
        "sampling": sampling,
        "freeze_bn": True,
        "clip_norm": 1.0,
    }
    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            supernet = Supernet(SPACE, num_classes=5)
        history = train_supernet(supernet, data(20), config, strategy)["history"]
        results.append((history[0]["loss"], weights(supernet)))
    (loss, arrays), (other_loss, others) = results
    assert other_loss == pytest.approx(loss, rel=1e-4)
    start = weights(Supernet(SPACE, num_classes=5))
    assert any(np.abs(array - before).max() > 0.01 for array, before in zip(arrays, start, strict=True))
    for array, other in zip(arrays, others, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("slow", [True, False])
def test_waiting_for_images_is_said_with_its_seconds(slow, caplog):
    traced, asked = threading.Event(), itertools.count()

    def wait():
        if next(asked) and slow:  # all but the first, from the end of the first step on, however long that takes
            traced.wait(120)
            time.sleep(0.5)

    class Images(ArraySplit):
        def batches(self, *args, **kwargs):
            def late(x, y):
                with tf.control_dependencies([tf.py_function(wait, [], [])]):
                    return tf.identity(x), y

            return super().batches(*args, **kwargs).map(late)

    first_step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: traced.set())
    config = {**CONFIG, "epochs": 1}
    train_supernet(Supernet(SPACE, num_classes=5), Images(*data(60)), config, callbacks=[first_step])
    said = [record.message for record in caplog.records if "for images" in record.message]
    assert len(said) == slow
    assert not slow or float(said[0].split()[2]) > 1.5  # five batches after the first, half a second each


def test_a_folder_that_cannot_be_written_shows_before_training(tmp_path):
    (tmp_path / "supernet").write_text("a file where the folder should be")
    stop = Interrupt(1, AssertionError("trained before the folder was tried"))
    with pytest.raises(InputError, match="could not be written"):
        train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, run_dir=tmp_path, callbacks=[stop])


@pytest.fixture(scope="module")
def untrained():
    return Supernet(SPACE, num_classes=5)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "supernet.epochs: expected at least 1 without a parent, whose weights it begins with, got 0"),
        ({"epochs": -1}, "supernet.epochs: expected an integer >= 0, got -1"),
        ({"batch_size": 2.5}, "supernet.batch_size"),
        ({"learning_rate": float("nan")}, "supernet.learning_rate"),
        ({"momentum": 1.0}, "supernet.momentum"),
        ({"seed": -1}, "supernet.seed"),
        ({"seed": 0.5}, "supernet.seed: expected an integer"),
        ({"sampling": "fair"}, "supernet.sampling: expected one of"),
        ({"schedule": "linear"}, "supernet.schedule: expected one of"),
        ({"sampling": "uniform"}, "supernet.execution"),
        ({"epoch": 3}, "epoch: unknown key"),
        ({"batch_size": 41}, "batch_size: it is larger"),
    ],
)
def test_bad_settings_are_named(untrained, change, message):
    with pytest.raises(InputError, match=message):
        train_supernet(untrained, data(), {**CONFIG, **change})


def test_defaults_are_the_papers():
    config = SupernetConfig()
    assert (config.epochs, config.batch_size, config.learning_rate, config.weight_decay) == (60, 256, 0.045, 4e-5)
    assert (config.skip, config.sampling) == ("let", "strict_fair")
