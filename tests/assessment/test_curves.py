import numpy as np
import pytest
from formula_search import TINY

from scarlet_tf.assessment.comparison import steps
from scarlet_tf.assessment.statistics import (
    evaluations_to,
    hypervolume_curve,
    median,
    median_figures,
    ratio_figures,
)
from scarlet_tf.cost import cost_table
from scarlet_tf.search.front import HypervolumeBox
from scarlet_tf.search.objectives import cost_model_and_objectives

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
