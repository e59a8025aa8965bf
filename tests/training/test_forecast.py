"""The forecast's figures and refusals; that training does not notice it; memory as the system tells it."""

import logging
import pathlib

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf
from test_train_supernet import CONFIG, SPACE, data, weights
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import get_arrays
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training import loop, memory
from scarlet_tf.training import supernet as supernet_module
from scarlet_tf.training.forecast import MEASURED_STEPS, Forecast
from scarlet_tf.training.memory import least_activation_bytes
from scarlet_tf.training.network import retrain
from scarlet_tf.training.supernet import train_supernet

LONGER = {**CONFIG, "batch_size": 5}  # eight steps an epoch


def drive(forecast, seconds, epochs=1):
    """Epochs whose steps end after `seconds` each, and an epoch's end of 100 seconds, of 500 the first time."""
    for epoch in range(epochs):
        forecast.on_epoch_begin(epoch)
        for batch, step in enumerate(seconds):
            forecast.clock.now += step
            forecast.on_train_batch_end(batch)
        forecast.clock.now += 100 if epoch else 500
        forecast.on_epoch_end(epoch)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_hours_are_those_of_the_median_step_without_the_first(caplog):
    forecast = Forecast("supernet", 1000, 36, "less", max_hours=10, clock=Clock())
    with caplog.at_level(logging.INFO, "scarlet_tf"):
        drive(forecast, [60, 2, 2, 9, 2, 2, 7], epochs=3)
    assert forecast.seconds_per_step == {"": 2}
    assert "20 h 0 min for all 36 epochs, 36000 steps of 2 s" in caplog.text  # 36,000 x 2 s
    assert "of 10 h will come after about 18.0 of 36 epochs" in caplog.text
    assert caplog.text.count("1 min 40 s after each epoch's steps, 1 h 0 min in all") == 1  # 36 x 100 s


def test_a_few_steps_tell_nothing():
    forecast = Forecast("supernet", 5, 1, "less", clock=Clock())
    drive(forecast, [1] * MEASURED_STEPS)
    assert forecast.seconds_per_step == {}


def test_steps_of_two_phases_are_timed_apart(caplog):
    """Two epochs of 12 steps, every third one from the seventh on slow: 18 steps of 2 s, and 6 of 10 s."""
    slow = {step for step in range(6, 24) if step % 3 == 0}
    phases = {True: "importance", False: "weight"}
    forecast = Forecast("supernet", 12, 2, "less", phase_of=lambda step: phases[step in slow], clock=Clock())
    with caplog.at_level(logging.INFO, "scarlet_tf"):
        for epoch in range(2):
            forecast.on_epoch_begin(epoch)
            for batch in range(12):
                forecast.clock.now += 10 if 12 * epoch + batch in slow else 2
                forecast.on_train_batch_end(batch)
    assert forecast.seconds_per_step == {"weight": 2, "importance": 10}
    lines = [record.getMessage() for record in caplog.records if "epochs" in record.getMessage()]
    assert lines == [
        "supernet forecast: 48 s for all 2 epochs, 18 weight steps of 2 s among them (measured over 5)",
        "supernet forecast: 1 min 36 s for all 2 epochs, 6 importance steps of 10 s among them (measured over 5)",
    ]


def test_memory_that_will_not_suffice_is_refused_after_the_first_steps(monkeypatch):
    monkeypatch.setattr(memory, "limit_bytes", lambda: 3 * 2**30)
    monkeypatch.setattr(memory, "peak_bytes", lambda: 2 * 2**30)
    fits = Forecast("supernet", 10, 1, "less", later_bytes=2**30, clock=Clock())
    drive(fits, [1] * 7)
    forecast = Forecast("supernet", 10, 1, "less of it", later_bytes=2**31, clock=Clock())
    with pytest.raises(InputError, match=r"4.00 GiB of memory are needed .* at most the 3.00 GiB .* use less of it"):
        drive(forecast, [1] * 7)


def test_memory_that_other_processes_hold_is_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(memory, "reachable_bytes", lambda: 2**30)
    monkeypatch.setattr(memory, "peak_bytes", lambda: 2**31)
    drive(Forecast("supernet", 10, 1, "less of it", clock=Clock()), [1] * 7)
    assert (
        "leave 1.00 GiB of memory at the moment, 2.00 GiB may be needed; if it runs short use less of it" in caplog.text
    )


def test_training_stops_with_advice_when_memory_will_not_suffice(monkeypatch, tmp_path):
    """Whatever the activations need at least is known before the first step; what else, after the first steps."""
    supernet = Supernet(SPACE, num_classes=5)
    least = least_activation_bytes(supernet, 5, "lanes")
    monkeypatch.setattr(memory, "reachable_bytes", lambda: least - 1)
    before = weights(supernet)
    with pytest.raises(InputError, match=r"at least .* for its activations.*execution: sequential.*smaller than 5"):
        train_supernet(supernet, data(), LONGER, run_dir=tmp_path)
    for one, other in zip(before, weights(supernet), strict=True):
        np.testing.assert_array_equal(one, other)
    monkeypatch.setattr(memory, "reachable_bytes", lambda: least)
    monkeypatch.setattr(memory, "limit_bytes", lambda: least)
    with pytest.raises(InputError, match=r"supernet: .* of memory are needed .*execution: sequential"):
        train_supernet(supernet, data(), LONGER, run_dir=tmp_path)


def test_a_finished_training_is_not_refused(monkeypatch, tmp_path):
    train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, run_dir=tmp_path)
    monkeypatch.setattr(memory, "reachable_bytes", lambda: 0)
    assert train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, run_dir=tmp_path)["steps"] == 12


def test_training_is_bit_identical_with_and_without_a_forecast(monkeypatch):
    plain, forecast = (Supernet(SPACE, num_classes=5) for _ in range(2))
    history = train_supernet(forecast, data(), LONGER)
    monkeypatch.setattr(supernet_module, "watchers", lambda *arguments: [])
    assert train_supernet(plain, data(), LONGER) == history
    for one, other in zip(weights(plain), weights(forecast), strict=True):
        np.testing.assert_array_equal(one, other)


class Told(keras.callbacks.Callback):
    """Keeps what a rehearsal tells, and how many steps of the training were done by then."""

    def __init__(self):
        super().__init__()
        self.steps, self.told = 0, []

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1

    def on_rehearsal(self, first, seconds):
        self.told.append((self.steps, first, seconds))


def rehearsing(monkeypatch, wanted):
    monkeypatch.setattr(loop, "LEAST_REHEARSED", 1 if wanted else 10**9)
    monkeypatch.setattr(loop, "REHEARSED_SECONDS", 0.0)


@pytest.mark.parametrize(
    "options",
    [{}, {"execution": "sequential"}, {"execution": "sequential", "sampling": "uniform"}, {"monitor_paths": 2}],
)
def test_a_rehearsal_changes_nothing(monkeypatch, options, caplog):
    """Weights, statistics, momentum and whatever follows from them are bit by bit those of a training without one."""
    config, validation = {**LONGER, **options}, data(8) if "monitor_paths" in options else None
    plain, rehearsed, told = *(Supernet(SPACE, num_classes=5) for _ in range(2)), Told()
    rehearsing(monkeypatch, False)
    expected = train_supernet(plain, data(), config, validation_data=validation)
    rehearsing(monkeypatch, True)
    with caplog.at_level(logging.INFO, "scarlet_tf"):
        found = train_supernet(rehearsed, data(), config, validation_data=validation, callbacks=[told])
    assert {**found, "monitor": None} == {**expected, "monitor": None}
    for one, other in zip(weights(plain), weights(rehearsed), strict=True):
        np.testing.assert_array_equal(one, other)
    [(steps, first, seconds)] = told.told
    assert steps == 0 and first > seconds > 0
    assert f"for all 3 epochs, 24 steps of {seconds:.3g} s (tried before the first)" in caplog.text


def test_a_rehearsal_of_retraining_changes_nothing(monkeypatch):
    """Nor draws of dropout, nor the moving average of weights, nor the statistics of the optimizer."""
    spec = Architecture((0, 0), SPACE).lower((8, 8, 3), 5)
    config = {"epochs": 2, "batch_size": 5, "learning_rate": 0.02, "dropout": 0.5, "ema": 0.9}
    found = []
    for wanted in (False, True):
        rehearsing(monkeypatch, wanted)
        told = Told()
        network, figures = retrain(spec, data(), data(8), config, callbacks=[told])
        assert len(told.told) == wanted
        found.append((get_arrays(network), figures))
    assert found[0][1] == found[1][1]
    for name, array in found[0][0].items():
        np.testing.assert_array_equal(array, found[1][0][name], err_msg=name)


def test_a_short_training_is_not_rehearsed():
    told = Told()
    train_supernet(Supernet(SPACE, num_classes=5), data(), CONFIG, callbacks=[told])
    assert told.told == []


def test_what_a_device_cannot_allocate_is_bad_input():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nand a long list")
    with (
        pytest.raises(
            InputError, match=r"supernet: the memory does not suffice \(OOM when allocating tensor\); use less"
        ),
        memory.out_of_memory_explained("supernet", "less"),
    ):
        raise error


# -- the lower bound -------------------------------------------------------------------------------------------


def test_least_activations_by_hand():
    """Layers read 8, 8, 8, 12 channels at 8, 4, 4, 4 pixels; the three blocks expand 2, 3 and 2 times, the skip nothing."""
    supernet = Supernet(tiny_space(), num_classes=5)
    elements = 7 * (8 * (64 + 16) + 8 * (16 + 16) + 8 * (16 + 16) + 12 * (16 + 16))
    assert least_activation_bytes(supernet, 10, "lanes") == 4 * 10 * elements
    assert least_activation_bytes(supernet, 10, "sequential") == 4 * 10 * elements / 4
    assert least_activation_bytes(supernet, 10, "lanes", num_replicas=2) == 4 * 5 * elements


# -- memory ----------------------------------------------------------------------------------------------------


def test_memory_of_this_process():
    assert 10 * 2**20 < memory.peak_bytes() < memory.limit_bytes()
    assert 10 * 2**20 < memory.reachable_bytes() <= memory.limit_bytes()
    assert memory.gpu_names() or memory.gpu_peak_bytes() is None


@pytest.mark.parametrize(
    ("line", "files", "limits"),
    [
        ("0::/jobs/7", {"jobs/7/memory.max": "500", "jobs/memory.max": "900", "memory.max": "max"}, [500, 900]),
        ("0::/jobs/7", {"memory.max": "300"}, [300]),  # within a container
        ("4:memory:/jobs", {"memory/jobs/memory.limit_in_bytes": "700"}, [700]),
        ("4:cpu,cpuacct:/jobs", {"memory.max": "300"}, []),
    ],
)
def test_limits_of_control_groups(tmp_path, line, files, limits):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(line + "\n")
    for name, text in files.items():
        file = pathlib.Path(tmp_path, "sys/fs/cgroup", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert memory.cgroup_limits(tmp_path) == limits
    assert memory.limit_bytes(tmp_path) == min([psutil.virtual_memory().total, *limits])


def test_no_control_groups_set_no_limit(tmp_path):
    assert memory.cgroup_limits(tmp_path) == []
    assert memory.limit_bytes(tmp_path) == psutil.virtual_memory().total
