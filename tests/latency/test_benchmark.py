"""Benchmark: what is stated of each file, and which files are refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.latency.benchmark import benchmark
from scarlet_tf.latency.timing import Measurement
from scarlet_tf.models.network import build_network
from scarlet_tf.space.search_space import Architecture


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network's file in float and in int8, with weights enough that int8 makes it smaller."""
    folder = tmp_path_factory.mktemp("files")
    model = build_network(Architecture((0, 1, 0, 3), tiny_space(tail_channels=256)), (16, 16, 3), 4, seed=0)
    export_tflite(model, folder / "model.tflite")
    images = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype(np.float32)
    export_tflite(model, folder / "model_int8.tflite", "int8", images)
    return folder / "model.tflite", folder / "model_int8.tflite"


def test_each_file_has_its_figures_and_its_ratio_to_the_first(files):
    first, second = benchmark(files, rounds=2, seconds_per_round=0.01)
    assert first["ratio"] == 1 and second["ratio"] > 0 and second["file"] == str(files[1])
    assert second["bytes"] == files[1].stat().st_size < first["bytes"] and second["partitions"] == 1
    assert first["multiply_adds"] == second["multiply_adds"] > 0
    assert first["milliseconds_per_100m"] == pytest.approx(first["milliseconds"] * 1e8 / first["multiply_adds"])


def test_a_file_that_is_none_is_refused_before_anything_is_timed(files, tmp_path):
    with pytest.raises(InputError, match=r"missing\.tflite: could not be read"):
        benchmark([files[0], tmp_path / "missing.tflite"])
    with pytest.raises(InputError, match="threads: expected an integer >= 1, got 0"):
        benchmark(files[:1], threads=0)


def test_a_phone_times_the_same_files(files):
    """A stand-in for the runner, whose own tests are with those of adb."""
    phone = SimpleNamespace(measure_files=lambda paths: [Measurement(4.0, 0.5, 20), Measurement(3.0, 0.25, 30)])
    first, second = benchmark(files, phone=phone)
    assert (second["milliseconds"], second["deviation"], second["runs"], second["ratio"]) == (3.0, 0.25, 30, 0.75)
    assert first["bytes"] == files[0].stat().st_size and first["ratio"] == 1
