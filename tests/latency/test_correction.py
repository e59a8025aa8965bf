"""Correction: known truths are found again from few networks, nothing leaves its bounds, and a table's errors are stated."""

import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.latency.correction import Priors, calibrate, correct, errors, kind
from scarlet_tf.space.metric_table import MetricTable, parts

SPACE = tiny_space()


def networks(rng, count, parts, layers=10):
    """Each of `count` networks has one part of each of `layers` groups, [count, parts]."""
    picks = rng.integers(parts // layers, size=(count, layers)) + np.arange(layers) * (parts // layers)
    counts = np.zeros((count, parts))
    np.add.at(counts, (np.arange(count)[:, None], picks), 1)
    return counts


def relative(predicted, true):
    return np.abs(predicted / true - 1)


def test_parts_that_add_up_stay_as_they_are(rng):
    parts = rng.uniform(0.1, 2, 60)
    counts = networks(rng, 8, 60)
    found = correct(parts, counts, counts @ parts, ["a"] * 60)
    np.testing.assert_allclose(found.parts, parts, rtol=1e-9)
    np.testing.assert_allclose(found.left_out, counts @ parts, rtol=1e-9)


def test_one_network_moves_one_part_as_worked_out_by_hand():
    # Prior 0.1 of 2 ms, noise 0.1 of 4 ms: the gain is 0.2^2 / (0.2^2 + 0.4^2) = 0.2 of the 2 ms that are missing.
    priors = Priors(own=0.1, kind=0, common=0, weights=0, constant=0, noise=0.1)
    assert correct([2.0], [[1]], [4.0], ["a"], priors=priors).parts == pytest.approx([2.4])


def test_what_was_left_out_is_what_the_others_predict(rng):
    parts = rng.uniform(0.1, 2, 60)
    counts, kinds = networks(rng, 6, 60), ["a", "b"] * 30
    measured = counts @ parts * rng.normal(1.2, 0.05, 6)
    # The greatest network decides no scale here, so that leaving it out changes nothing but its own line.
    priors = Priors(weights=0, constant=0)
    found = correct(parts, counts, measured, kinds, priors=priors)
    for i in range(6):
        others = np.arange(6) != i
        without = correct(parts, counts[others], measured[others], kinds, priors=priors)
        assert found.left_out[i] == pytest.approx(counts[i] @ without.parts, rel=1e-9)


@pytest.mark.parametrize("cause", ["common", "kind", "weights", "constant"])
def test_each_cause_is_learnt_from_few_networks(rng, cause):
    parts, sizes = rng.uniform(0.1, 2, 60), rng.uniform(0, 5e5, 60)
    kinds = [f"{i % 3}" for i in range(60)]
    truth = {
        "common": 1.3 * parts,
        "kind": parts * np.array([0.85, 1.0, 1.2])[np.arange(60) % 3],
        "weights": parts + 1e-6 * sizes,
        "constant": parts + 0.15,
    }[cause]
    seen, unseen = networks(rng, 12, 60), networks(rng, 40, 60)
    found = correct(parts, seen, seen @ truth, kinds, sizes)
    before, after = (np.median(relative(unseen @ values, unseen @ truth)) for values in (parts, found.parts))
    assert after < 0.015 and after < before / 3


def test_no_part_falls_below_zero_and_unknown_nothing_stays_nothing():
    found = correct([0.001, 0.0, 5.0], [[1, 1, 1], [0, 1, 1]], [1.0, 1.0], ["a", "b", "c"])
    assert (found.parts >= 0).all() and found.parts[1] == 0


@pytest.mark.parametrize(
    "parts, counts, measured, message",
    [
        ([1.0], [[1, 1]], [1.0], "expected counts of shape"),
        ([1.0], np.zeros((0, 1)), [], "expected counts of shape"),
        ([-1.0], [[1]], [1.0], "expected finite latencies"),
        ([1.0], [[1]], [0.0], "expected finite latencies"),
        ([1.0], [[1]], [np.nan], "expected finite latencies"),
    ],
)
def test_what_cannot_be_is_refused(parts, counts, measured, message):
    with pytest.raises(InputError, match=message):
        correct(parts, counts, measured, ["a"])


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
