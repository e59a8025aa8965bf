"""Correction: known truths are found again from few networks, and nothing leaves its bounds."""

import numpy as np
import pytest

from scarlet_tf.errors import InputError
from scarlet_tf.export.correction import Priors, correct


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
