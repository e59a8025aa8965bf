import itertools

import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.betanas.importances import JointCost
from scarlet_tf.search.config import BetaNASConfig
from scarlet_tf.search.objectives import CostModel
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.metric_table import MetricTable, parts

SPACE = tiny_space()
COSTS = CostTable(SPACE, 8, 5)
EVERY = np.array(list(itertools.product(range(4), repeat=4)))


def table(rng) -> MetricTable:
    entries = {key: [rng.uniform(0.1, 1.0)] for key, _, _ in parts(SPACE, 8, 5)}
    return MetricTable(SPACE, 8, 5, ["latency_ms"], entries)


def test_the_mean_cost_is_that_of_all_networks_and_its_gradient_a_finite_difference(rng):
    figures = CostModel(COSTS, table(rng))
    probabilities = rng.dirichlet(np.ones(4), 4)
    probabilities[2] = [0.5, 0, 0.5, 0]
    weights = probabilities[np.arange(4), EVERY].prod(axis=1)
    for name, values in figures.of(EVERY).items():
        mean, gradient = figures.expected(name, probabilities)
        np.testing.assert_allclose(mean, (weights * values).sum())
        for place in np.ndindex(4, 4):  # the mean is linear in each probability
            moved = probabilities.copy()
            moved[place] += 0.5
            difference = (figures.expected(name, moved)[0] - mean) / 0.5
            np.testing.assert_allclose(gradient[place], difference, rtol=1e-9)


def test_the_cost_is_the_papers_sum_where_choices_cost_the_same_wherever_they_stand(rng):
    """A space without skips: sum_l sum_m p_lm cost_lm and the ends."""
    space = tiny_space(choices=SPACE.choices[:3])
    costs = CostTable(space, 8, 5)
    probabilities = rng.dirichlet(np.ones(3), 4)
    base = costs.count_one([0, 0, 0, 0])[0]
    mean = base
    for layer, choice in np.ndindex(4, 3):
        network = [0, 0, 0, 0]
        network[layer] = choice
        mean += probabilities[layer, choice] * (costs.count_one(network)[0] - base)
    np.testing.assert_allclose(costs.expected(probabilities)["multiply_adds"][0], mean)


def test_the_cost_is_counted_in_the_mean_networks():
    cost = JointCost(CostModel(COSTS), BetaNASConfig(cost_weight=0.3))
    equal = np.full((4, 4), 0.25)
    assert cost.reference == cost.mean(equal)
    step = 1e-3 * np.array([1.0, 0, 0, -1.0])[None] * np.ones((4, 1))
    change = (cost.mean(equal + step) - cost.mean(equal - step)) / 2
    np.testing.assert_allclose((cost.gradient(equal) * step).sum(), 0.3 * change / cost.reference, rtol=1e-6)
    assert JointCost(CostModel(COSTS), BetaNASConfig(cost_reference=5.0)).reference == 5.0


def test_a_cost_that_nothing_gives_is_named():
    with pytest.raises(InputError, match=r"search\.betanas\.cost: expected one of multiply_adds, params"):
        JointCost(CostModel(COSTS), BetaNASConfig(cost="latency_ms"))


@pytest.mark.parametrize("shape", [(3, 4), (4, 5), (4,)])
def test_probabilities_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match="probabilities: expected shape"):
        COSTS.expected(np.ones(shape))
