import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.errors import InputError
from scarlet_tf.export.calibration import calibrate, errors, kind
from scarlet_tf.metric_table import MetricTable, parts

SPACE = tiny_space()


def new_table(metrics=("latency_ms", "file_bytes"), scale=1.0):
    rng = np.random.default_rng(0)
    entries = {key: [scale * rng.uniform(0.1, 1), *[1000.0] * (len(metrics) - 1)] for key, _, _ in parts(SPACE, 32, 10)}
    return MetricTable(SPACE, 32, 10, metrics, entries, {"cpu": "one"}, details={"more": 1})


def drawn(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def sums(table, architectures):
    return table.sums(np.array([one.choices for one in architectures]))["latency_ms"]


def test_a_host_that_is_slower_than_the_table_is_found_out():
    table, truth = new_table(), new_table(scale=1.25)
    seen, unseen = drawn(8), drawn(40, seed=1)
    corrected, report = calibrate(table, dict(zip(seen, sums(truth, seen), strict=True)))
    assert np.median(np.abs(sums(corrected, unseen) / sums(truth, unseen) - 1)) < 0.01
    assert report["sum"]["median_error"] == pytest.approx(-0.2, abs=1e-3)
    assert report["left_out"]["median_absolute_error"] < 0.02
    assert report["left_out"]["median_absolute_error"] >= report["corrected"]["median_absolute_error"]


def test_a_report_has_a_line_for_each_network():
    table, seen = new_table(), drawn(3)
    corrected, report = calibrate(table, dict(zip(seen, sums(table, seen) + 0.5, strict=True)))
    row = report["networks"][1]
    assert row["architecture"] == seen[1].to_string()
    assert row["measured_ms"] == pytest.approx(row["sum_ms"] + 0.5, abs=1e-5)
    assert row["corrected_ms"] == pytest.approx(sums(corrected, seen)[1], abs=1e-4)


def test_other_metrics_device_and_details_stay():
    table, seen = new_table(), drawn(3)
    corrected, _ = calibrate(table, dict(zip(seen, sums(table, seen) * 2, strict=True)))
    assert corrected.bounds["file_bytes"] == table.bounds["file_bytes"]
    assert (corrected.device, corrected.details) == (table.device, table.details)
    assert corrected.fingerprint != table.fingerprint and (corrected.bounds["latency_ms"][0]) > 0


def test_a_table_without_latency_is_refused():
    with pytest.raises(InputError, match=r"metrics: expected latency_ms among them, got \['file_bytes'\]"):
        calibrate(new_table(["file_bytes"]), {drawn(1)[0]: 1.0})


def test_errors_are_those_worked_out_by_hand():
    assert errors([1.1, 1.8, 3.0], [1.0, 2.0, 3.0]) == {
        "median_absolute_error": 0.1,
        "max_absolute_error": 0.1,
        "median_error": 0.0,
        "spearman": 1.0,
    }
    assert errors([1.0], [2.0])["spearman"] is None


def test_blocks_are_told_apart_by_filter_and_squeeze_and_excitation():
    assert kind("ir 8>48>16 k3 s2 se0 hard_swish @32x32") == "ir k3"
    assert kind("ir 8>48>16 k7 s2 se12 hard_swish shortcut @32x32") == "ir k7 se"
    assert kind("stem 3>16>8 s1 @32x32") == "stem"
