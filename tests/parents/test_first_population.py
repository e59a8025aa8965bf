import numpy as np
from toy_parent import CLASSES, SIZE, toy_parent

from scarlet_tf.parents.around import space_around
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.objectives import cost_model_and_objectives
from scarlet_tf.space.cost import cost_table
from scarlet_tf.training.sampling import largest_path


def test_a_population_begins_near_the_parent(rng):
    """Layers are the parent's own with the share that a genome draws, 1/2 on average; half of the others are skips."""
    space = space_around(toy_parent())
    costs = cost_table(space, SIZE, CLASSES)
    budget = Budget(*cost_model_and_objectives(costs, None, None))
    drawn = budget.sample(300, rng)  # distinct ones of 3,125, so those of many own layers are fewer than drawn
    own = np.mean(drawn == largest_path(space))
    assert 0.35 < own < 0.6 and 0.2 < np.mean(drawn == space.num_choices - 1) < 0.45
    assert len(np.unique(drawn, axis=0)) == 300
