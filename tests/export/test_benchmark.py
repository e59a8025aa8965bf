"""Benchmark: what is stated of each file, and which files are refused."""

import pytest

from scarlet_tf.errors import InputError
from scarlet_tf.export.benchmark import benchmark


def test_each_file_has_its_figures_and_its_ratio_to_the_first(float_file, int8_file, model):
    first, second = benchmark([float_file, int8_file], rounds=2, seconds_per_round=0.01)
    assert first["ratio"] == 1 and second["ratio"] > 0 and second["file"] == str(int8_file)
    assert second["bytes"] == int8_file.stat().st_size < first["bytes"] and second["partitions"] == 1
    assert first["multiply_adds"] == second["multiply_adds"] > 0
    assert first["milliseconds_per_100m"] == pytest.approx(first["milliseconds"] * 1e8 / first["multiply_adds"])


def test_a_file_that_is_none_is_refused_before_anything_is_timed(float_file, tmp_path):
    with pytest.raises(InputError, match=r"missing\.tflite: could not be read"):
        benchmark([float_file, tmp_path / "missing.tflite"])
    with pytest.raises(InputError, match="threads: expected an integer >= 1, got 0"):
        benchmark([float_file], threads=0)
