"""Importances: their training, drops, and the order of steps, against values computed by hand."""

import itertools
import json

import keras
import numpy as np
import pytest

from scarlet_tf.betanas.importances import Importances, Phases, softmax, through_softmax
from scarlet_tf.search.config import BetaNASConfig


def importances(alpha, **config) -> Importances:
    found = Importances(*np.shape(alpha), BetaNASConfig(**config))
    found.alpha[:] = alpha
    return found


def test_choices_are_equally_important_at_the_start():
    np.testing.assert_array_equal(Importances(2, 4, BetaNASConfig()).probabilities, np.full((2, 4), 0.25))


def test_equation_4_by_hand():
    """p = (1/2, 1/4, 1/4) and dO/dg = (1, 2, 4): the mean is 2, so dO/dalpha = (-1/2, 0, 1/2)."""
    found = through_softmax(np.array([[0.5, 0.25, 0.25]]), np.array([[1.0, 2.0, 4.0]]))
    np.testing.assert_allclose(found, [[-0.5, 0.0, 0.5]])


def test_equation_4_is_the_derivative_through_the_softmax(rng):
    """O = sum_m w_m p_m(alpha), whose derivative by p is w, against finite differences; one choice is dropped."""
    alpha, weights = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    remaining = np.ones((3, 5), bool)
    remaining[1, 2] = False
    found = through_softmax(softmax(alpha, remaining), weights)
    for place in np.ndindex(alpha.shape):
        moved = [alpha.copy(), alpha.copy()]
        moved[0][place] += 1e-6
        moved[1][place] -= 1e-6
        above, below = ((weights * softmax(one, remaining)).sum() for one in moved)
        np.testing.assert_allclose(found[place], (above - below) / 2e-6, atol=1e-8)
    assert found[1, 2] == 0


def test_importances_move_as_keras_adam_moves_them(rng):
    found = importances(np.zeros((2, 3)), learning_rate=0.01)
    alpha = keras.Variable(np.zeros((2, 3)))
    adam = keras.optimizers.Adam(0.01)
    for _ in range(20):
        gates = rng.normal(size=(2, 3)) + np.array([1.0, 0.0, -1.0])
        gradient = through_softmax(softmax(np.array(alpha), np.ones((2, 3), bool)), gates)
        adam.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [alpha])
        found.update(gates)
    np.testing.assert_allclose(found.alpha, alpha, atol=1e-5)
    assert (np.diff(found.alpha, axis=1) > 0.05).all()  # a choice that raises the loss loses importance


def test_the_cost_reaches_the_importances_as_the_loss_does():
    cheap = importances(np.zeros((1, 2)))
    cheap.update(np.array([[0.0, 0.0]]), np.array([[3.0, 1.0]]))
    assert cheap.alpha[0, 0] < 0 < cheap.alpha[0, 1]


def test_the_drop_rule_by_hand():
    """Means are 0, 0 and 0.25; a margin of 0.5 leaves out -0.6 and the lowest of the last layer."""
    found = importances([[-0.6, 0.2, 0.4], [-0.5, 0.0, 0.5], [-0.9, -0.85, 2.5]], drop_margin=0.5)
    assert found.drop(7) == [(0, 0), (2, 0)]
    np.testing.assert_array_equal(found.dropped_at, [[7, -1, -1], [-1, -1, -1], [7, -1, -1]])
    # The mean of those that remain: 0.825, below which -0.85 is by 1.675.
    assert found.drop(9) == [(2, 1)]
    assert found.drop(11) == []


def test_a_layer_loses_at_most_so_many_choices_at_once():
    alpha = [[-3.0, -2.0, -1.0, 6.0]]
    assert importances(alpha, drops_per_check=2).drop(0) == [(0, 0), (0, 1)]
    assert importances(alpha, drops_per_check=9).drop(0) == [(0, 0), (0, 1), (0, 2)]


def test_an_absolute_threshold_drops_as_well():
    found = importances([[0.3, 0.4], [0.6, 0.7]], drop_margin=9.0, drop_below=0.5)
    assert found.drop(3) == [(0, 0)]


def test_one_choice_always_remains():
    found = importances([[0.3, 0.4]], drop_below=0.5, drops_per_check=5)
    for step in range(5):
        found.drop(step)
    np.testing.assert_array_equal(found.remaining, [[False, True]])


def test_a_drop_that_is_not_allowed_is_left_out():
    found = importances([[-3.0, 1.0, 2.0], [-3.0, 1.0, 2.0]])
    assert found.drop(0, lambda remaining: remaining[0].all()) == [(1, 0)]


def test_what_was_dropped_has_no_probability_and_stays_as_it_was(rng):
    found = importances([[-3.0, 1.0, 2.0]])
    found.update(rng.normal(size=(1, 3)))
    found.drop(0)
    before = found.get_state()
    for _ in range(3):
        found.update(rng.normal(size=(1, 3)))
    after = found.get_state()
    for name in ("alpha", "mean", "variance"):
        assert after[name][0][0] == before[name][0][0]
        assert after[name][0][1] != before[name][0][1]
    assert found.probabilities[0, 0] == 0
    np.testing.assert_allclose(found.probabilities.sum(), 1)


def test_the_state_gives_back_every_bit(rng):
    def go_on(found):
        for step in range(30):
            found.update(rng.normal(size=(2, 4)) + np.arange(4))
            found.drop(step)
        return found.get_state()

    one = importances(np.zeros((2, 4)), learning_rate=0.05)
    go_on(one)
    other = importances(np.zeros((2, 4)), learning_rate=0.05)
    other.set_state(json.loads(json.dumps(one.get_state())))
    state = rng.bit_generator.state
    expected = go_on(one)
    rng.bit_generator.state = state
    assert go_on(other) == expected
    assert (np.array(expected["dropped_at"]) >= 0).any()


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_large_importances_do_not_overflow(value):
    found = softmax(np.array([[value, 0.0]]), np.ones((1, 2), bool))
    assert np.isfinite(found).all() and found.sum() == 1


def kinds(phases: Phases) -> str:
    return "".join("wi"[phases.is_importance(step)] for step in range(phases.total_steps))


def test_phases_alternate_behind_the_warm_up():
    assert kinds(Phases(12, BetaNASConfig(warmup=0.25))) == "wwwwiwiwiwiw"[:3] + "wiwiwiwiw"
    two_to_three = BetaNASConfig(warmup=0, weight_steps=2, importance_steps=3)
    assert kinds(Phases(12, two_to_three)) == "wwiiiwwiiiww"


@pytest.mark.parametrize("config", [{}, {"warmup": 0}, {"warmup": 0.4, "weight_steps": 3, "importance_steps": 2}])
def test_steps_of_each_phase_are_counted(config):
    phases = Phases(40, BetaNASConfig(**config))
    text = kinds(phases)
    for step in range(41):
        assert phases.importance_steps(step) == text[:step].count("i")
        assert phases.weight_steps(step) == text[:step].count("w")


@pytest.mark.parametrize("checks", [1, 3, 7, 30])
def test_checks_are_as_many_as_configured_and_the_last_is_behind_the_last_step(checks):
    phases = Phases(50, BetaNASConfig(warmup=0.2, drop_checks=checks))
    found = [step for step in range(50) if phases.is_check(step)]
    assert len(found) == checks and found[-1] == 49 and found[0] >= 10
    distances = {b - a for a, b in itertools.pairwise(found)}
    assert not distances or max(distances) - min(distances) <= 1
