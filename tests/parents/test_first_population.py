import numpy as np
from toy_parent import CLASSES, SIZE, toy_parent

from scarlet_tf.parents.around import space_around
from scarlet_tf.search.budget import Budget, shortened
from scarlet_tf.search.objectives import cost_model_and_objectives
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.sampling import largest_path


def test_a_population_begins_near_the_parent(rng):
    space = space_around(toy_parent())
    costs = cost_table(space, SIZE, CLASSES)
    budget = Budget(*cost_model_and_objectives(costs, None, None))
    drawn = budget.sample(200, rng)
    own = np.mean(drawn == largest_path(space))
    assert 0.5 < own < 0.75 and 0.1 < np.mean(drawn[:, [1, 3]] == space.num_choices - 1) < 0.6
    assert len(np.unique(drawn, axis=0)) == 200


def test_the_plain_ways_are_among_the_first():
    space = space_around(toy_parent())
    own, skip = largest_path(space), space.num_choices - 1
    plain = [own, (*own[:3], skip, own[4]), (own[0], skip, own[2], skip, own[4])]
    assert shortened(space) == plain
    costs = cost_table(space, SIZE, CLASSES)
    limit = costs.count_one(plain[1])[0] + 1
    budget = Budget(*cost_model_and_objectives(costs, limit, None))
    first = budget.sample(20, np.random.default_rng(0))[:2]
    assert [tuple(one) for one in first.tolist()] == plain[1:]


def test_other_spaces_have_none():
    assert shortened(SearchSpace.from_name("s1")) == []
