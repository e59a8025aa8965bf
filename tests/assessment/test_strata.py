import numpy as np
import pytest
from tiny import tiny_space

from scarlet_tf.assessment import statistics
from scarlet_tf.assessment.statistics import stratified_sample
from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.space import Choice, SearchSpace, Stage


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
