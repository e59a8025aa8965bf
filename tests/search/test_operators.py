import dataclasses

import numpy as np
import pytest
from scipy import stats

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.mutation import Mutation, MutationContext, PriorRegulator, RandomMutation, RouletteMutation, draw
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.search_space import SearchSpace

# One layer from 4 to 4 channels at 2 x 2 pixels behind a stem of stride 1; a choice with expansion 1, one with 2, a skip.
ONE = SearchSpace(
    "one",
    (Stage(4, 1, 1),),
    (Choice(1, 3), Choice(2, 3), Choice()),
    stem_channels=2,
    stem_stride=1,
    first_channels=4,
    tail_channels=3,
    input_size=2,
)
THREE = SearchSpace("three", (Stage(8, 3, 2),), tuple(Choice(e, 3) for e in range(1, 5)), input_size=32)


def context(space=THREE, front=()):
    table = CostTable(space, space.input_size, 5)
    front = np.array(front, int).reshape(-1, space.num_layers)
    return MutationContext(space, table, 2, front[:0], ({}, {}), front)


def drawn_genes(operator, genome, rng, where, count=4000):
    """How often each (layer, choice) was drawn, [num_layers, num_choices]; an unchanged child counts nowhere."""
    seen = np.zeros((len(genome), where.space.num_choices), int)
    for _ in range(count):
        child = operator.mutate(genome, rng, where)
        for layer in np.flatnonzero(child != genome):
            seen[layer, child[layer]] += 1
    return seen


def test_roulette_is_proportional_to_what_the_variants_cost():
    """Counted by hand: stem 54 + 18 + 8 weights at 4 pixels, tail 4 * 3 weights at 4 pixels and 3 * 5 weights at one.

    Fixed: 80 * 4 + 12 * 4 + 15 = 383 multiply-adds; with BN and bias 80 + 16 + 12 + 6 + 20 = 134 params.
    Expansion 1: 36 + 16 weights at 4 pixels; expansion 2: 32 + 72 + 32; BN: 2 * (4 + 4) and 2 * (8 + 8 + 4).
    """
    where, genome = context(ONE), np.array([2])
    roulette = RouletteMutation()
    inverse = np.array([1 / (383 + 208), 1 / (383 + 544), 1 / 383])
    expected = inverse / inverse.sum()
    np.testing.assert_allclose(roulette.probabilities(genome, 0, "multiply_adds", where), expected, rtol=1e-12)
    params = np.array([134 + 52 + 16, 134 + 136 + 40, 134])
    np.testing.assert_allclose(roulette.probabilities(genome, 0, "params", where), params / params.sum(), rtol=1e-12)


@pytest.mark.parametrize("objective", ["multiply_adds", "params"])
def test_roulette_draws_with_its_probabilities(rng, objective):
    where, genome, operator = context(ONE), np.array([2]), RouletteMutation([objective])
    counts = np.zeros(3, int)
    for _ in range(3000):
        counts[operator.mutate(genome, rng, where)] += 1
    expected = 3000 * operator.probabilities(genome, 0, objective, where)
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    assert genome.tolist() == [2]


def test_roulette_draws_layers_and_objectives_equally_often(rng):
    where, genome, operator = context(), np.array([0, 1, 2]), RouletteMutation()
    seen = drawn_genes(operator, genome, rng, where)
    both = [[operator.probabilities(genome, layer, name, where) for layer in range(3)] for name in operator.objectives]
    expected = 4000 / 3 * np.mean(both, axis=0)
    others = np.arange(4) != genome[:, None]
    assert stats.chisquare(seen[others], expected[others] * seen.sum() / expected[others].sum()).pvalue > 1e-3


def test_unknown_objective_is_refused():
    with pytest.raises(InputError, match=r"objectives: expected some of multiply_adds, params, got \['latency'\]"):
        RouletteMutation(["latency"])
    with pytest.raises(InputError, match="objectives"):
        RouletteMutation([])


def test_prior_regulator_follows_the_frequencies_of_the_front(rng):
    where = context(front=[[0, 1, 3], [0, 1, 3], [0, 2, 1], [1, 2, 0]])
    prior = PriorRegulator()
    assert prior.probabilities(0, where).tolist() == [0.75, 0.25, 0, 0]
    assert prior.probabilities(2, where).tolist() == [0.25, 0.25, 0, 0.5]
    seen = drawn_genes(prior, np.array([3, 3, 3]), rng, where)
    # In the last layer half of the children are unchanged.
    expected = 4000 / 3 * np.array([[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0.25, 0.25, 0, 0]])
    assert np.all(seen[expected == 0] == 0)
    scaled = expected[expected > 0] * seen.sum() / expected.sum()
    assert stats.chisquare(seen[expected > 0], scaled).pvalue > 1e-3


def test_prior_regulator_without_a_front_is_uniform():
    assert PriorRegulator().probabilities(1, context()).tolist() == [0.25] * 4


def test_random_mutation_changes_one_gene_to_any_other_choice(rng):
    genome = np.array([0, 1, 2])
    seen = drawn_genes(RandomMutation(), genome, rng, context())
    others = np.arange(4) != genome[:, None]
    assert seen.sum() == 4000 and seen[~others].sum() == 0
    assert stats.chisquare(seen[others]).pvalue > 1e-3


class Fixed:
    def __init__(self, value):
        self.value = value

    def random(self):
        return self.value


@pytest.mark.parametrize("value, index", [(0.0, 1), (0.2499, 1), (0.25, 3), (1 - 2**-53, 3)])
def test_draw_takes_each_index_over_its_part_of_the_line(value, index):
    assert draw(np.array([0, 1, 0, 3, 0]), Fixed(value)) == index


def test_operator_without_mutate_says_so(rng):
    with pytest.raises(NotImplementedError):
        Mutation().mutate(np.zeros(3, int), rng, context())


def test_roulette_follows_the_directions_of_the_objectives(rng):
    genome, operator = np.array([2]), RouletteMutation()
    small = dataclasses.replace(context(ONE), directions={"params": "min"})
    params = np.array([134 + 52 + 16, 134 + 136 + 40, 134])  # as counted above
    expected = (1 / params) / (1 / params).sum()
    np.testing.assert_allclose(operator.probabilities(genome, 0, "params", small), expected, rtol=1e-12)
    counts = np.zeros(3, int)
    for _ in range(3000):
        counts[operator.mutate(genome, rng, small)] += 1
    assert stats.chisquare(counts, 3000 * expected).pvalue > 1e-4  # multiply-adds are no objective and are not drawn
