import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.mutation import MutationContext, UniformMutation
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.search_space import SearchSpace


def context(num_choices=4):
    choices = tuple(Choice(e, 3) for e in range(1, num_choices + 1))
    space = SearchSpace("mutants", (Stage(8, 3, 2),), choices, input_size=32)
    none = np.zeros((0, 3), int)
    return MutationContext(space, CostTable(space, 32, 10), 2, none, ({}, {}), none)


def test_one_gene_changes_to_every_other_choice_equally_often(rng):
    genome, mutation, seen = np.array([1, 0, 3]), UniformMutation(1.0), np.zeros((3, 4), int)
    for _ in range(3000):
        child = mutation.mutate(genome, rng, context())
        (changed,) = np.flatnonzero(child != genome)
        seen[changed, child[changed]] += 1
    assert genome.tolist() == [1, 0, 3]
    others = seen[np.arange(4) != genome[:, None]]
    # 9 outcomes of 333 each; 4 standard deviations are 69.
    assert np.all(np.abs(others - 3000 / 9) < 69)


def test_ratio_is_the_share_of_changed_children(rng):
    genome, mutation = np.array([1, 0, 3]), UniformMutation(0.8)
    changed = sum(np.any(mutation.mutate(genome, rng, context()) != genome) for _ in range(2000))
    assert abs(changed / 2000 - 0.8) < 0.036  # 4 standard deviations


def test_ratio_zero_and_a_single_choice_change_nothing(rng):
    genome = np.array([0, 0, 0])
    assert UniformMutation(0.0).mutate(genome, rng, context()).tolist() == [0, 0, 0]
    assert UniformMutation(1.0).mutate(genome, rng, context(num_choices=1)).tolist() == [0, 0, 0]


def test_ratio_out_of_range_is_refused():
    with pytest.raises(InputError, match=r"mutation_ratio: expected a number from 0 to 1, got 1\.5"):
        UniformMutation(1.5)
