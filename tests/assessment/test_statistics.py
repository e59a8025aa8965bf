"""Samples drawn by cost, Kendall's tau and medians of curves, against other formulas and values computed by hand."""

import numpy as np
import pytest
from formula_search import TINY
from tiny import tiny_space

from scarlet_tf.assessment import statistics
from scarlet_tf.assessment.comparison import steps
from scarlet_tf.assessment.statistics import (
    evaluations_to,
    hypervolume_curve,
    kendall,
    median,
    median_figures,
    ratio_figures,
    stratified_sample,
)
from scarlet_tf.base.errors import InputError
from scarlet_tf.search.front import HypervolumeBox
from scarlet_tf.search.objectives import cost_model_and_objectives
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.space.search_space import SearchSpace


def costs_of(space, size=8):
    return CostTable(space, size, 5)


def test_a_space_small_enough_to_see_through_is_cut_at_its_quantiles():
    """Two layers, two choices: four networks, of which each half by multiply-adds gives one."""
    space = SearchSpace("two", (Stage(8, 1), Stage(16, 1, 2)), (Choice(3, 3), Choice()), 8, 1, 8, 16, input_size=8)
    costs = costs_of(space)
    every = sorted((costs.count_one(choices)[0], choices) for choices in ((0, 0), (0, 1), (1, 0), (1, 1)))
    for seed in range(5):
        low, high = stratified_sample(costs, 2, 2, seed)
        assert (low.stratum, high.stratum) == (0, 1)
        assert low.architecture.choices in [choices for _, choices in every[:2]]
        assert high.architecture.choices in [choices for _, choices in every[2:]]
    assert [s.architecture.choices for s in stratified_sample(costs, 4, 4, 0)] == [choices for _, choices in every]


def test_strata_hold_equal_numbers_of_networks_and_give_equal_shares():
    costs = costs_of(tiny_space())  # 4^4 = 256 networks
    samples = stratified_sample(costs, 22, 4, 1)
    assert [sum(s.stratum == i for s in samples) for i in range(4)] == [6, 6, 5, 5]
    assert len({s.architecture.choices for s in samples}) == 22
    every = np.sort(costs.count(np.stack(np.unravel_index(np.arange(256), (4,) * 4), axis=1))[0])
    for sample in samples:
        part = every[sample.stratum * 64 : (sample.stratum + 1) * 64]
        assert part[0] <= sample.multiply_adds <= part[-1]
        assert (sample.multiply_adds, sample.params) == costs.count_one(sample.architecture.choices)


def test_the_draw_is_a_function_of_the_seed():
    costs = costs_of(tiny_space())
    assert stratified_sample(costs, 9, 3, 4) == stratified_sample(costs, 9, 3, 4)
    assert stratified_sample(costs, 9, 3, 4) != stratified_sample(costs, 9, 3, 5)


def test_a_large_space_is_represented_by_a_pool(monkeypatch):
    monkeypatch.setattr(statistics, "POOL", 100)
    samples = stratified_sample(costs_of(tiny_space()), 12, 4, 0)
    assert len({s.architecture.choices for s in samples}) == 12
    greatest = [max(s.multiply_adds for s in samples if s.stratum == i) for i in range(4)]
    assert greatest == sorted(greatest)
    s2 = stratified_sample(CostTable(SearchSpace.from_name("s2"), 32, 10), 10, 5, 0)
    assert len(s2) == 10


@pytest.mark.parametrize("count", range(1, 12))
def test_every_division_of_a_small_space_succeeds(count):
    space = tiny_space(stages=(Stage(8, 2, 2),), choices=(Choice(2, 3), Choice(3, 3), Choice()))  # 9 networks
    for parts in range(1, count + 1):
        if count <= 9:
            assert len(stratified_sample(costs_of(space), count, parts, 0)) == count
        else:
            with pytest.raises(InputError, match=r"ranking\.architectures: expected at most 9 .*got"):
                stratified_sample(costs_of(space), count, parts, 0)


def test_more_strata_than_networks_are_refused():
    with pytest.raises(InputError, match=r"ranking\.strata: expected from 1 to 3, .* got 4"):
        stratified_sample(costs_of(tiny_space()), 3, 4, 0)


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


COSTS = cost_table(TINY, 32, 10)


def test_curve_is_the_volume_of_all_found_so_far():
    lines, accuracies = ["0,0,0,0", "1,1,1,1", "2,0,0,0", "0,2,2,0"], [0.5, 0.2, 0.5, 0.9]
    found = hypervolume_curve(
        {"architectures": lines, "accuracies": accuracies}, *cost_model_and_objectives(COSTS, 1e9, None)
    )
    genomes = np.array([[int(gene) for gene in line.split(",")] for line in lines])
    multiply_adds, params = COSTS.count(genomes)
    objectives = np.column_stack([-np.array(accuracies), multiply_adds, -params])
    box = HypervolumeBox(*cost_model_and_objectives(COSTS, 1e9, None))
    np.testing.assert_allclose(found, [box.measure(objectives[:n]) for n in range(1, 5)])


def test_curve_of_one_model_by_hand():
    """In the unit box the volume between a point and the reference corner is the product of the distances."""
    (low, high), (few, many) = COSTS.bounds["multiply_adds"], COSTS.bounds["params"]
    multiply_adds, params = COSTS.count_one((0, 1, 0, 2))
    expected = 0.25 * (high - multiply_adds) / (high - low) * (params - few) / (many - few)
    found = hypervolume_curve(
        {"architectures": ["0,1,0,2"], "accuracies": [0.25]}, *cost_model_and_objectives(COSTS, 1e9, None)
    )
    assert found[0] == pytest.approx(expected)


def test_models_not_above_the_floor_do_not_count():
    search = {"architectures": ["0,0,0,0", "1,0,0,0"], "accuracies": [0.3, 0.4]}
    curve = hypervolume_curve(search, *cost_model_and_objectives(COSTS, 1e9, 0.3))
    assert curve[0] == 0 < curve[1]


def test_a_search_that_evaluated_nothing_has_no_volume():
    known = cost_model_and_objectives(COSTS, 1e9, None)
    assert hypervolume_curve({"architectures": [], "accuracies": []}, *known).tolist() == [0]


def test_evaluations_are_counted_from_one():
    curve = np.array([0.1, 0.1, 0.3, 0.4])
    assert [evaluations_to(curve, target) for target in (0.05, 0.1, 0.2, 0.4)] == [1, 1, 3, 4]
    assert evaluations_to(curve, 0.41) == np.inf


def test_steps_name_each_rise_and_the_end():
    assert steps(np.array([0.0, 0.0, 0.2, 0.2, 0.3, 0.3])) == [[1, 0.0], [3, 0.2], [5, 0.3], [6, 0.3]]


def test_lower_median_may_be_infinite_only_when_half_are_not_reached():
    assert median([3, np.inf, 1, np.inf]) == 3
    assert median([3, np.inf, np.inf]) == np.inf


def test_figures_say_none_for_what_is_not_reached():
    assert median_figures([5.0, 7.0]) == {"median": 5.0, "low": None, "high": None}
    assert median_figures([np.inf] * 4) == {"median": None, "low": None, "high": None}
    assert median_figures([4.0] * 5) == {"median": 4.0, "low": 4.0, "high": 4.0}


def test_interval_covers_the_true_median_nearly_always(rng):
    hits = 0
    for seed in range(200):
        figures = median_figures(rng.normal(size=25), seed)
        hits += figures["low"] <= 0 <= figures["high"]
    assert hits >= 180  # 95 % of 200 are 190; a percentile interval of a median is a little short


def test_ratio_counts_an_unreached_reference_as_all_evaluations_spent():
    figures = ratio_figures([30.0, 30.0, 30.0], [np.inf, np.inf, 60.0], 120)
    assert figures == {"median": 0.25, "low": 0.25, "high": 0.5}
    assert ratio_figures([np.inf] * 3, [60.0] * 3, 120)["median"] is None
