import itertools
import json

import numpy as np
import pytest
from formula_search import BIG, TINY, accuracy, state

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import RandomSearch
from scarlet_tf.search.front import HypervolumeBox, non_dominated
from scarlet_tf.search.objectives import cost_model_and_objectives
from scarlet_tf.search.run import search
from scarlet_tf.space.cost import cost_table

COSTS, TINY_COSTS = (cost_table(space, 32, 10) for space in (BIG, TINY))


def results(genomes):
    return [{"accuracy": accuracy(genome)} for genome in genomes]


def test_generations_have_the_shape_of_nsga2_and_no_network_comes_twice():
    random = RandomSearch(COSTS, population_size=5, generations=6, max_multiply_adds=1.2e6)
    sizes = []
    while not random.finished:
        genomes = random.ask()
        sizes.append(len(genomes))
        assert np.all(COSTS.count(genomes)[0] < 1.2e6)
        random.tell(results(genomes))
    assert sizes == [10, 5, 5, 5, 5] and random.evaluations == random.total_evaluations == 30
    assert len({tuple(genome) for genome in random.told}) == 30


def test_draws_are_uniform_over_the_feasible_networks():
    every = np.array(list(itertools.product(range(3), repeat=4)))
    budget = float(np.median(TINY_COSTS.count(every)[0]))
    feasible = [tuple(g) for g in every[TINY_COSTS.count(every)[0] < budget].tolist()]
    counts = dict.fromkeys(feasible, 0)
    for seed in range(400):
        for genome in RandomSearch(TINY_COSTS, 4, 2, budget, seed=seed).ask().tolist():
            counts[tuple(genome)] += 1
    # 3,200 draws; a count is binomial, and none of these few dozen should be 5 deviations away.
    expected = 3200 / len(feasible)
    assert max(abs(count - expected) for count in counts.values()) < 5 * np.sqrt(expected)


def test_a_space_is_exhausted_before_anything_is_repeated():
    random = RandomSearch(TINY_COSTS, population_size=10, generations=12, max_multiply_adds=1e9)
    while not random.finished:
        random.tell(results(random.ask()))
    assert len({tuple(genome) for genome in random.told[:81]}) == 81 == TINY.size
    assert random.evaluations == 120


def test_hypervolume_is_that_of_all_so_far():
    random = RandomSearch(COSTS, population_size=4, generations=5, max_multiply_adds=1.5e6, min_accuracy=0.3)
    while not random.finished:
        random.tell(results(random.ask()))
    told = np.array(random.told)
    values = [accuracy(genome) for genome in told.tolist()]
    multiply_adds, params = COSTS.count(told)
    objectives = np.column_stack([-np.array(values), multiply_adds, -params])
    box = HypervolumeBox(*cost_model_and_objectives(COSTS, 1.5e6, None))
    for value, count in zip(random.hypervolume, (8, 12, 16, 20), strict=True):
        rows = objectives[:count][np.array(values[:count]) > 0.3]
        assert value == pytest.approx(box.measure(rows[non_dominated(rows)]))
    assert random.hypervolume == sorted(random.hypervolume) and random.hypervolume[-1] > 0


def test_a_failed_evaluation_counts_as_none():
    random = RandomSearch(COSTS, 2, 2, 1e9)
    random.ask()
    random.tell([None, None, {"accuracy": 0.5}, None])
    assert random.hypervolume[0] > 0
    other = RandomSearch(COSTS, 2, 2, 1e9)
    other.ask()
    with pytest.raises(InputError, match=r"metrics\.accuracy: expected a number from 0 to 1, got 7"):
        other.tell([None, None, {"accuracy": 7}, None])
    assert other.pending is not None and other.evaluations == 0


def test_search_that_is_told_again_what_it_was_told_goes_on_alike():
    whole = RandomSearch(COSTS, 3, 6, 1.2e6, seed=3)
    answers = []
    while not whole.finished:
        resumed = RandomSearch(COSTS, 3, 6, 1.2e6, seed=3)
        for answer in answers:
            resumed.ask()
            resumed.tell(answer)
        genomes = whole.ask()
        np.testing.assert_array_equal(resumed.ask(), genomes)
        assert state(resumed) == state(whole)
        answers.append(results(genomes))
        whole.tell(answers[-1])


def test_it_is_chosen_by_name_and_writes_the_same_file(tmp_path):
    from test_search_run import CONFIG, SUPERNET, Evaluator

    evaluator = Evaluator()
    config = {**CONFIG, "algorithm": "random"}
    result = search(SUPERNET, None, config, tmp_path / "run", evaluator=evaluator)
    assert result.evaluations == evaluator.calls == 30
    search(SUPERNET, None, CONFIG, tmp_path / "nsga2", evaluator=Evaluator())
    written, other = (json.loads((tmp_path / name / "pareto.json").read_text()) for name in ("run", "nsga2"))
    assert written.keys() == other.keys() and written["pareto"] == [c.to_dict() for c in result.pareto]
    with pytest.raises(InputError, match=r"it belongs to another search: algorithm: expected None, found 'random'"):
        search(SUPERNET, None, CONFIG, tmp_path / "run", evaluator=Evaluator())


def test_an_unknown_algorithm_is_named(tmp_path):
    with pytest.raises(InputError, match=r'search\.algorithm: expected one of nsga2, random, .*, got "annealing"'):
        search(None, None, {"algorithm": "annealing"}, tmp_path)
