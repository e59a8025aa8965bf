import numpy as np
import pytest

from scarlet_tf.assessment.statistics import kendall
from scarlet_tf.errors import InputError


def test_tau_counts_concordant_and_discordant_pairs():
    """1 2 3 4 against 1 3 2 4: five of six pairs in the same order, one not."""
    assert kendall([1, 2, 3, 4], [1, 3, 2, 4], resamples=50)["tau"] == pytest.approx(4 / 6)
    assert kendall([0.1, 0.2, 0.3], [7, 8, 9], resamples=50)["tau"] == pytest.approx(1)
    assert kendall([0.1, 0.2, 0.3], [9, 8, 7], resamples=50)["tau"] == pytest.approx(-1)


def test_ties_count_as_in_tau_b():
    """Pairs: two concordant, one tied on the left: 2 / sqrt(2 * 3)."""
    assert kendall([1, 1, 2], [1, 2, 3], resamples=50)["tau"] == pytest.approx(2 / np.sqrt(6))


def test_interval_of_a_perfect_order_is_a_point():
    figures = kendall(np.arange(20), np.arange(20) ** 3, resamples=300)
    assert figures["low"] == pytest.approx(1) and figures["high"] == pytest.approx(1)


def test_interval_is_that_of_a_bootstrap_written_out():
    rng = np.random.default_rng(3)
    x = rng.normal(size=25)
    y = x + rng.normal(size=25)
    figures = kendall(x, y, resamples=4000, seed=1)

    def tau(x, y):
        signs = np.sign(np.subtract.outer(x, x)), np.sign(np.subtract.outer(y, y))
        return (signs[0] * signs[1]).sum() / np.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum())

    draws = [rng.integers(25, size=25) for _ in range(4000)]
    low, high = np.quantile([tau(x[d], y[d]) for d in draws], [0.025, 0.975])
    assert figures["tau"] == pytest.approx(tau(x, y))
    # The standard error of a 2.5 % quantile of 4,000 draws is below 0.01 here; three of them, for both.
    assert abs(figures["low"] - low) < 0.03 and abs(figures["high"] - high) < 0.03
    assert figures["resamples"] == 4000
    assert figures["low"] < figures["tau"] < figures["high"]


def test_seed_decides_the_interval():
    x, y = np.random.default_rng(0).normal(size=(2, 12))
    assert kendall(x, y, 200, seed=5) == kendall(x, y, 200, seed=5)
    assert kendall(x, y, 200, seed=5)["low"] != kendall(x, y, 200, seed=6)["low"]


def test_no_interval_without_resamples():
    figures = kendall([1, 2, 3, 4], [1, 3, 2, 4], resamples=0)
    assert figures["tau"] == pytest.approx(4 / 6) and figures["p_value"] is not None
    assert (figures["low"], figures["high"], figures["resamples"]) == (None, None, 0)


def test_resamples_of_one_network_alone_are_left_out():
    """Of three networks, one resample in nine repeats a single one."""
    figures = kendall([1, 2, 3], [1, 2, 3], resamples=900)
    assert 0 < 900 - figures["resamples"] < 200


def test_constant_accuracies_have_no_tau():
    nothing = {"tau": None, "low": None, "high": None, "p_value": None, "resamples": 0}
    assert kendall([1, 1, 1], [1, 2, 3], resamples=50) == nothing


@pytest.mark.parametrize("pairs", [([1], [1]), ([1, np.nan], [1, 2])])
def test_what_cannot_be_compared_is_refused(pairs):
    with pytest.raises(InputError, match="kendall: expected two lists"):
        kendall(*pairs)
