import numpy as np
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

from scarlet_tf.search.nsga2 import WeightedSurvival, tournament, weighted_crowding


def test_weighted_crowding_equals_hand_computed_values():
    objectives = np.array([[0.0, 10, 7], [1, 8, 7], [2, 4, 7], [4, 0, 7]])
    crowding = weighted_crowding(objectives, (0.5, 0.25, 0.25))
    # Second: 0.5 * (2 - 0) / 4 + 0.25 * (10 - 4) / 10; third: 0.5 * (4 - 1) / 4 + 0.25 * (8 - 0) / 10.
    np.testing.assert_allclose(crowding, [np.inf, 0.4, 0.575, np.inf], rtol=1e-12)


def test_equal_weights_give_pymoo_crowding(rng):
    objectives = rng.integers(0, 12, size=(40, 3)).astype(float)  # with ties and repeats
    np.testing.assert_allclose(
        weighted_crowding(objectives, (1 / 3,) * 3), calc_crowding_distance(objectives), rtol=1e-12
    )


def test_objective_of_weight_zero_has_no_infinite_ends():
    objectives = np.array([[0.0, 1], [1, 0], [2, 3], [3, 2]])
    assert np.isinf(weighted_crowding(objectives, (1, 0))).tolist() == [True, False, False, True]


def test_tournament_goes_by_violation_then_rank_then_crowding(rng):
    violation = np.array([0.0, 0, 0, 0, 0.1, 2])
    rank = np.array([0, 0, 1, 1, 9, 9])
    crowding = np.array([np.inf, 0.5, np.inf, 0.2, 0, 0])
    winners = tournament(violation, rank, crowding, 3600, rng)
    # They are listed best first, and the best of two draws is place i with probability (11 - 2 i) / 36.
    expected = 100 * np.array([11, 9, 7, 5, 3, 1])
    # 4 standard deviations are below 111.
    assert np.all(np.abs(np.bincount(winners, minlength=6) - expected) < 111)


def test_equals_win_a_tournament_equally_often(rng):
    winners = tournament(np.zeros(4), np.zeros(4, int), np.full(4, np.inf), 4000, rng)
    # 1000 of each; 4 standard deviations are 110.
    assert np.all(np.abs(np.bincount(winners, minlength=4) - 1000) < 110)


def test_survivors_are_the_feasible_first_then_those_nearest_to_it(rng):
    objectives = np.array([[0.0, 0, 0], [3, 3, 3], [1, 1, 1], [0, 0, 0], [2, 2, 2]])
    violation = np.array([2.0, 0, 0, np.finfo(float).tiny, 0.1])
    kept, rank, crowding = WeightedSurvival((0.4, 0.4, 0.2)).keep(objectives, violation, 4, rng)
    assert kept == [2, 1, 3, 4]
    assert rank[:2].tolist() == [0, 1] and rank[2:].min() > 1000
    assert crowding.tolist() == [np.inf, np.inf, 0, 0]
