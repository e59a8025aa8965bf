"""Paired gains by hand, against a bootstrap, and in words."""

import math

import numpy as np
import pytest
from scipy import stats

from scarlet_tf.race.verdict import Z, needed, paired, sentence, smallest_gain, still_learning


def hits(both, only_first, only_second, neither):
    counts = (both, only_first, only_second, neither)
    first = np.repeat([True, True, False, False], counts)
    return first, np.repeat([True, False, True, False], counts)


def test_a_gain_and_its_interval_by_hand():
    """100 images, 12 known to the first alone, 4 to the second: 12.5 and 4.5 of 102 with half an image in each cell."""
    found = paired(*hits(70, 12, 4, 14))
    middle, half = 8 / 102, 1.959964 * math.sqrt((17 / 102 - (8 / 102) ** 2) / 102)
    assert (found["gain"], found["images"], found["only_first"], found["only_second"]) == (0.08, 100, 12, 4)
    assert (found["low"], found["high"]) == pytest.approx((middle - half, middle + half), rel=1e-12)


def test_the_interval_is_that_of_a_paired_bootstrap():
    first, second = hits(600, 120, 80, 200)
    found = paired(first, second)
    difference = first.astype(int) - second.astype(int)
    drawn = np.random.default_rng(0).choice(difference, (4000, len(difference))).mean(axis=1)
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(drawn, [0.025, 0.975]), atol=0.002)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(2000):
        cells = rng.multinomial(150, [0.8, 0.07, 0.04, 0.09])
        found = paired(*hits(*cells))
        inside += found["low"] <= 0.03 <= found["high"]
    assert 0.93 <= inside / 2000 <= 0.98


def test_networks_that_agree_on_all_images_are_not_known_to_be_equal():
    found = paired(*hits(50, 0, 0, 10))
    assert found["gain"] == 0 and found["needed"] is None
    assert found["high"] == -found["low"] == pytest.approx(1.959964 / 62)
    assert "both recognise equally many of the 60 test images" in sentence(found, "the uniform network")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"gain": 0.012, "low": 0.004, "high": 0.02}, "better than the rival by 1.2 points (0.4 to 2.0)"),
        ({"gain": -0.012, "low": -0.02, "high": -0.004}, "worse than the rival by 1.2 points (0.4 to 2.0)"),
        (
            {"gain": 0.003, "low": -0.003, "high": 0.009, "needed": 12_345},
            "not distinguishable from the rival (\N{MINUS SIGN}0.3 to 0.9 points); about 13,000 test images would be needed",
        ),
    ],
)
def test_a_gain_in_words(found, text):
    assert sentence({"images": 1000, **found}, "the rival") == text


@pytest.mark.parametrize(("only_first", "only_second", "rest"), [(3, 1, 30), (0, 4, 355), (20, 12, 200), (7, 6, 100)])
def test_as_many_images_as_are_needed_make_the_interval_leave_zero(only_first, only_second, rest):
    """Repeating the same images as often as it takes; one whole time less does not suffice."""
    images = only_first + only_second + rest
    wanted = paired(*hits(rest, only_first, only_second, 0))["needed"]
    assert wanted > images
    times = -(-wanted // images)
    for count in (times, times - 1):
        found = paired(*hits(count * rest, count * only_first, count * only_second, 0))
        assert (found["low"] > 0 or found["high"] < 0) == (count == times)


def test_as_many_images_as_are_needed_can_just_tell():
    assert pytest.approx(stats.norm.ppf(0.975), abs=1e-6) == Z
    assert smallest_gain(needed(0.02)) == pytest.approx(0.02, rel=0.01)
    assert needed(0.0) is None


def test_a_network_that_knows_its_training_images_is_not_still_learning():
    [text] = still_learning(0.565, 0.4917)
    assert "recognises 56.50 % of the training images and 49.17 % of the validation images" in text
    assert "retrain.epochs" in text
    assert still_learning(0.98, 0.97) == []  # nearly all
    assert still_learning(0.80, 0.60) == []  # much more than of images that it was not trained on
    assert still_learning(None, 0.5) == []  # nobody counted
