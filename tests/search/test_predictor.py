"""The predictor: leave-one-out against a loop, the exact maximum against every network, and what it is worth."""

import itertools

import numpy as np
import pytest
from scipy import stats
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.objectives import CostModel, make_objectives
from scarlet_tf.search.predictor import Predictor, Ridge
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.equivalence import canonical

SPACE = tiny_space()
FIGURES = CostModel(CostTable(SPACE, 8, 5))
EVERY = np.array(list(itertools.product(range(4), repeat=4)))
DIFFERENT = EVERY[(canonical(EVERY, SPACE) == EVERY).all(axis=1)]
COSTS = FIGURES.of(EVERY)["multiply_adds"]


def objectives(limit=None, **bounds):
    return make_objectives((0.4, 0.4, 0.2), limit, None, **bounds)


def accuracies(networks, rng, slope=0.3):
    """Of a made-up truth: a share of each choice, and one of the logarithm of the cost; error rates of some 20 %."""
    shares = np.random.default_rng(5).normal(0, 0.2, (4, 4))
    costs = FIGURES.of(networks)["multiply_adds"]
    error = np.exp(-shares[np.arange(4), networks].sum(axis=1) - slope * np.log(costs / COSTS.mean()))
    return np.maximum(1 - 0.2 * error * np.exp(rng.normal(0, 0.02, len(networks))), 0.0)


def trained(rng, count=12, slope=0.3):
    networks = DIFFERENT[rng.choice(len(DIFFERENT), count, replace=False)]
    return networks, accuracies(networks, rng, slope)


def ridge_by_hand(features, targets, strength):
    """Weights and intercept from the normal equations."""
    centred = features - features.mean(axis=0)
    matrix = centred.T @ centred + strength * np.eye(features.shape[1])
    weights = np.linalg.solve(matrix, centred.T @ (targets - targets.mean()))
    return weights, targets.mean() - features.mean(axis=0) @ weights


def test_leave_one_out_is_that_of_a_loop_over_fits(rng):
    features, targets = rng.normal(size=(7, 9)), rng.normal(size=7)
    strengths, errors, predictions = (0.03, 0.4, 5.0), [], []
    for strength in strengths:
        found = []
        for i in range(7):
            others = np.arange(7) != i
            weights, intercept = ridge_by_hand(features[others], targets[others], strength)
            found.append(features[i] @ weights + intercept)
        predictions.append(found)
        errors.append(np.mean((targets - found) ** 2))
    ridge = Ridge.fit(features, targets, np.array(strengths))
    best = int(np.argmin(errors))
    assert ridge.strength == strengths[best]
    np.testing.assert_allclose(ridge.left_out, predictions[best], rtol=1e-9)
    weights, intercept = ridge_by_hand(features, targets, strengths[best])
    np.testing.assert_allclose(ridge.predict(features), features @ weights + intercept, rtol=1e-9)


def test_two_samples_of_one_feature_by_hand():
    """x = -1, 0, 1, y = -1, 0, 1, strength 2: weight 2 / (2 + 2); without the last: x centred at -1/2, weight 1/2 / 5/2."""
    ridge = Ridge.fit(np.array([[-1.0], [0], [1]]), np.array([-1.0, 0, 1]), np.array([2.0]))
    np.testing.assert_allclose([*ridge.weights, ridge.intercept], [0.5, 0], atol=1e-15)
    np.testing.assert_allclose(ridge.left_out, [-(-0.5 + 1.5 * 0.2), 0, -0.5 + 1.5 * 0.2], atol=1e-15)


@pytest.mark.parametrize("slope", [2.0, 0.0, -2.0])
def test_the_best_within_a_budget_is_the_best_of_all_networks(rng, slope):
    """Against predicting all 256: concave and convex in the cost, with bounds of both kinds and networks left out."""
    none = 0
    for _ in range(8):
        predictor = Predictor(FIGURES, *trained(rng, slope=slope))
        assert slope == 0 or np.sign(predictor._slope()) == np.sign(slope)
        predicted = predictor.predict(EVERY)
        limit, floor = (
            rng.uniform(*FIGURES.bounds["multiply_adds"]),
            FIGURES.bounds["params"][0] * rng.uniform(0.9, 1.2),
        )
        excluded = EVERY[rng.integers(256, size=3)]
        away = (canonical(EVERY, SPACE)[:, None] != canonical(excluded, SPACE)).sum(axis=2).min(axis=1) >= 2
        bounds = objectives(limit, lower_bounds={"params": floor})
        fits = bounds.meets(FIGURES.of(EVERY)) & away
        found = predictor.best_within(bounds, excluded.tolist(), differ=2)
        if not fits.any():
            none += 1
            assert found is None
            continue
        np.testing.assert_allclose(predictor.predict([found])[0], predicted[fits].max(), rtol=1e-5)
        assert fits[(found == EVERY).all(axis=1)][0]
    assert none < 8


def test_proposals_come_in_the_order_of_the_prediction_and_are_new(rng):
    networks, found = trained(rng)
    predictor, limit = Predictor(FIGURES, networks, found), float(np.quantile(COSTS, 0.6))
    cheap = DIFFERENT[FIGURES.of(DIFFERENT)["multiply_adds"] < limit]
    new = [tuple(n) for n in cheap.tolist() if n not in [*networks.tolist(), cheap[3].tolist()]]
    wanted = sorted(new, key=lambda network: -predictor.predict([network])[0])[:5]
    assert predictor.propose(5, objectives(limit), known=cheap[3:4]) == wanted
    assert predictor.propose(5, objectives(limit), known=cheap[3:4], candidates=EVERY) == wanted
    far = predictor.propose(30, objectives(float(COSTS.min() + 5000)), differ=2)
    every = np.array([*networks.tolist(), *far])
    assert 0 < len(far) < 30
    assert all((every[:i] != every[i]).sum(axis=1).min() >= 2 for i in range(12, len(every)))


def test_equal_networks_are_predicted_to_be_equal(rng):
    predictor = Predictor(FIGURES, *trained(rng))
    one, same = predictor.predict([[0, 1, 3, 2], [0, 1, 2, 3]])
    assert one == same
    proposed = predictor.propose(200, objectives(), candidates=EVERY)
    assert len(proposed) == len(DIFFERENT) - 12
    assert (canonical(proposed, SPACE) == proposed).all()


def test_a_dozen_trainings_order_networks_and_a_score_orders_them_better(rng):
    networks, found = trained(rng, 12)
    truth = accuracies(EVERY, np.random.default_rng(0))
    loss = -truth + 0.3 * truth.std() * rng.normal(size=256)
    places = [np.flatnonzero((network == EVERY).all(axis=1))[0] for network in networks]
    plain, scored = Predictor(FIGURES, networks, found), Predictor(FIGURES, networks, found, loss[places])
    tau = stats.kendalltau(plain.predict(EVERY), truth).statistic
    assert 0.6 < tau < stats.kendalltau(scored.predict(EVERY, loss), truth).statistic
    assert np.corrcoef(plain.left_out, found)[0, 1] > 0.5
    best = scored.propose(1, objectives(), candidates=EVERY, scores=loss)
    assert truth[(best == EVERY).all(axis=1)][0] > np.quantile(truth, 0.8)


def test_bad_input_is_named(rng):
    networks, found = trained(rng)
    for changes, message in (
        ((networks[:2], found[:2]), "networks: expected at least 3 that were trained, got 2"),
        ((networks, found[1:]), "accuracies: expected 12 finite numbers"),
        ((networks, 100 * found), "accuracies: expected numbers from 0 to 1, got"),
        ((networks + 1, found), "choices: expected values from 0 to 3"),
        ((networks[:, :3], found), r"choices: expected shape \[N, 4\]"),
        ((networks, found, [np.nan] * 12), "scores: expected 12 finite numbers"),
    ):
        with pytest.raises(InputError, match=message):
            Predictor(FIGURES, *changes)
    scored = Predictor(FIGURES, networks, found, found)
    with pytest.raises(InputError, match="best_within: expected a model without scores"):
        scored.best_within(objectives())
    with pytest.raises(InputError, match="scores: expected one of each network"):
        scored.predict(networks)
    with pytest.raises(InputError, match="scores: expected none, as at the fit"):
        Predictor(FIGURES, networks, found).predict(networks, found)
