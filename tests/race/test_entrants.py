"""Finalists that differ, and rivals that are as great, as deep and as random as the budget allows."""

from operator import ne

import numpy as np
import pytest
from tiny import tiny_space
from toy_parent import toy_parent

from scarlet_tf.parents.around import parent_path, space_around
from scarlet_tf.race.config import RaceConfig, sizes, trainings
from scarlet_tf.race.entrants import Entrant, deepest, finalists, in_words, rivals, uniform
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.objectives import CostModel, Objectives
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.search_space import Architecture, SearchSpace

SPACE = tiny_space()  # choices: E2K3, E3K5+SE, E2K7, skip; four layers, the second and fourth with a shortcut


def budget(limit=None, space=SPACE):
    bounds = {} if limit is None else {"multiply_adds": limit}
    return Budget(CostModel(cost_table(space, space.input_size, 5)), Objectives(upper_bounds=bounds))


def cost(genome, space=SPACE):
    return budget(space=space).cost_model.of_one(genome)["multiply_adds"]


def candidates(*genomes, space=SPACE):
    return [
        Candidate(Architecture(genome, space), 0.9 - i / 100, cost(genome, space), 1)
        for i, genome in enumerate(genomes)
    ]


def chosen(found):
    return [each.architecture.choices for each in found[0]], found[1]


def test_finalists_differ_in_a_quarter_of_the_layers():
    space = tiny_space("eight", stages=(Stage(8, 4, 2), Stage(12, 4, 1)))
    best, near, far, last = (0,) * 8, (0,) * 7 + (1,), (0,) * 6 + (1, 1), (2,) * 8
    found = finalists(candidates(best, near, far, last, space=space), 3)
    assert chosen(found) == ([best, far, last], 2)
    # A quarter of the layers leaves three of four: one layer has to do.
    assert chosen(finalists(candidates(best, near, far, last, space=space), 4)) == ([best, near, far, last], 1)


def test_fewer_finalists_than_asked_for_are_all_there_are():
    assert chosen(finalists(candidates((0, 0, 0, 0), (1, 0, 0, 0)), 5)) == ([(0, 0, 0, 0), (1, 0, 0, 0)], 1)
    assert finalists([], 4) == ([], 1)


def test_finalists_are_no_rivals_and_fit():
    found = finalists(
        candidates((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2)),
        1,
        [Architecture((0, 0, 0, 0), SPACE)],
        lambda a: a.choices != (1, 1, 1, 1),
    )
    assert chosen(found) == ([(2, 2, 2, 2)], 1)


def test_the_uniform_network_is_the_greatest_of_its_kind_within_the_budget():
    whole = sorted([(i,) * 4 for i in range(3)], key=cost)
    assert next(uniform(budget())) == whole[-1]
    assert next(uniform(budget(cost(whole[-1])))) == whole[-2]  # a bound itself is not kept
    assert next(uniform(budget(cost(whole[0]) + 1))) == whole[0]


def test_below_every_whole_network_the_uniform_one_is_shortened():
    limit = min(cost((i,) * 4) for i in range(3))
    network = next(uniform(budget(limit)))
    kept = [choice for choice in network if choice != 3]
    assert len(set(kept)) == 1 and len(kept) < 4 and network[0] != 3 and network[2] != 3
    others = [one for i in range(3) for one in ((i, i, i, 3), (i, 3, i, 3))]
    assert cost(network) == max(cost(one) for one in others if cost(one) < limit)


def test_the_deepest_network_has_as_many_layers_as_any_within_the_budget():
    everything = [tuple(map(int, one)) for one in np.ndindex(4, 4, 4, 4)]
    for limit in (cost((3, 3, 3, 3)) + 1, cost((0, 3, 3, 3)) + 1, cost((0, 0, 0, 0)) + 1, cost((1, 1, 0, 0)), None):
        within = [one for one in everything if limit is None or cost(one) < limit]
        [network] = deepest(budget(limit))
        depth = 4 - network.count(3)
        assert depth == max(4 - one.count(3) for one in within)
        greater = [one for one in within if 4 - one.count(3) == depth and sum(map(ne, one, network)) == 1]
        assert all(cost(one) <= cost(network) for one in greater)  # no further step is within the budget
    assert list(deepest(budget(cost((3, 3, 3, 3))))) == []


def test_rivals_are_all_different_and_within_the_budget():
    limit = cost((0, 0, 0, 0)) + 1
    found = rivals(budget(limit), RaceConfig(seed=3))
    assert [one.name for one in found] == ["uniform", "random"]  # the uniform one is the deepest, too
    genomes = [one.network.choices for one in found]
    assert len(set(genomes)) == len(genomes) and all(cost(one) < limit for one in genomes)
    assert found == rivals(budget(limit), RaceConfig(seed=3))
    refused = found[0].network
    others = rivals(budget(limit), RaceConfig(rivals=["uniform"]), lambda a: a != refused)
    assert [one.name for one in others] == ["uniform"] and others[0].network != refused


def test_a_budget_of_all_skips_leaves_no_uniform_network(caplog):
    caplog.set_level("INFO")
    found = rivals(budget(cost((3, 3, 3, 3)) + 1), RaceConfig())
    assert [one.network.choices for one in found] == [(3, 3, 3, 3)]
    assert "race: no uniform network keeps the bounds; it is left out" in caplog.messages


def test_a_space_without_a_skip_has_rivals_too():
    space = SearchSpace("two", (Stage(8, 2, 2),), (Choice(2, 3), Choice(3, 3)), 8, 1, 8, 16, input_size=8)
    assert next(uniform(budget(space=space))) == (1, 1)
    assert list(deepest(budget(cost((1, 0), space) + 1, space))) in [[(1, 0)], [(0, 1)]]


def test_around_a_parent_the_plain_rival_is_the_parent_made_shorter():
    parent = toy_parent()
    space = space_around(parent)
    whole = parent_path(parent, space).choices
    [rival] = rivals(budget(cost(whole, space), space), RaceConfig(rivals=["uniform"]))
    assert (rival.name, rival.words) == ("shortened", "the shortened parent")
    changed = [layer for layer, (a, b) in enumerate(zip(whole, rival.network.choices, strict=True)) if a != b]
    assert len(changed) == 1 and space.choices[rival.network.choices[changed[0]]].is_skip
    [random] = rivals(budget(cost(whole, space), space), RaceConfig(rivals=["random"]))
    assert random.network != rival.network


@pytest.mark.parametrize(
    ("entrant", "text"),
    [
        (("finalist_2", "finalist"), "finalist 2 of the search"),
        (("uniform", "rival"), "the uniform network"),
        (("parent", "rival", 96), "the parent at 96 pixels"),
        (("mine", "finalist"), "mine"),
    ],
)
def test_entrants_in_words(entrant, text):
    assert in_words(*entrant) == text
    assert Entrant(*entrant[:2], Architecture((0, 0, 0, 0), SPACE), *entrant[2:]).words == text


def test_the_length_of_a_race():
    """Seven networks: 7 a quarter, 4 another quarter, 2 the other half."""
    assert sizes(7, 3) == [7, 4, 2]
    assert trainings(7, (0.25, 0.5, 1.0)) == 7 / 4 + 4 / 4 + 2 / 2
    assert trainings(1, (0.25, 0.5, 1.0)) == 1
    assert sizes(3, 4, 2) == [3, 2, 2, 2] and sizes(1, 2, 2) == [1, 1]  # the best finalist and the best rival stay
    assert trainings(2, (0.5, 1.0), 2) == 2
