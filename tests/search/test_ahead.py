"""Generations that are bred while those before are still evaluated, whoever evaluates them and in whichever order."""

import numpy as np
import pytest
from formula_search import BIG, accuracy, answer, choices_of, complete, make, run

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.config import MutationConfig, SearchConfig
from scarlet_tf.search.mutation import Made
from scarlet_tf.search.tuner import SupernetTuner

SIZE = 4


def overlapping(folder, **changes):
    mutation = MutationConfig().build(BIG, 0)  # which learns and counts
    settings = {"population_size": SIZE, "generations": 9, "ahead": 2, "mutation": mutation}
    return make(folder, **{**settings, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search of one worker that nothing interrupted."""
    oracle = overlapping(tmp_path_factory.mktemp("whole"))
    run(oracle)
    assert oracle.evaluations == 36 and len(oracle.hypervolume) == 8
    return oracle


@pytest.mark.parametrize("killed_at", [0, 1, 7, 8, 9, 13, 20, 35])
def test_a_search_that_was_killed_ends_as_one_that_was_not(tmp_path, whole, killed_at):
    done = run(overlapping(tmp_path), killed_at)
    resumed = overlapping(tmp_path)
    resumed.reload()
    assert len(resumed.trials) == done
    assert done + run(resumed) == len(whole.trials)
    assert answer(resumed) == answer(whole) and sorted(resumed.trials) == sorted(whole.trials)


@pytest.mark.parametrize("workers", [2, 5, 20])
def test_the_front_does_not_depend_on_who_ends_first_nor_on_a_chief_that_dies(tmp_path, whole, workers, rng):
    """Every worker has a trial in hand; a random one ends next; twice a new chief reads the journal."""
    oracle, ended, hands = overlapping(tmp_path), 0, {}
    while not oracle.is_over():
        for tuner in range(workers):
            if tuner not in hands and (trial := oracle.create_trial(f"worker-{tuner}")).status == "RUNNING":
                hands[tuner] = trial
        complete(oracle, hands.pop(rng.choice(list(hands))))
        ended += 1
        if ended in (14, 25):
            oracle.engine.journal.close()
            oracle, hands = overlapping(tmp_path), {}
    assert answer(oracle) == answer(whole)
    assert {i: choices_of(t) for i, t in oracle.trials.items()} == {i: choices_of(t) for i, t in whole.trials.items()}


def test_two_generations_are_open_or_wait_while_a_third_is_evaluated(tmp_path):
    oracle, open_ones = overlapping(tmp_path, mutation=None), []
    drawn, draw = [], oracle.algorithm._draw
    oracle.algorithm._draw = lambda: drawn.append(oracle.algorithm.evaluations) or draw()
    while not oracle.is_over():
        open_ones.append(len(oracle.open_architectures()))
        complete(oracle, oracle.create_trial("tuner0"))
    # After the first eight three generations are bred at once, then one whenever the next has been told.
    assert drawn == [0, 8, 8, 8, 12, 16, 20, 24]
    assert open_ones[8] == 3 * SIZE and min(open_ones[8 : -3 * SIZE]) > 2 * SIZE
    assert len({choices_of(trial) for trial in oracle.trials.values()}) == len(oracle.trials) == 36


def test_a_shorter_search_keeps_what_a_longer_one_evaluated_and_a_longer_one_goes_on(tmp_path, whole):
    oracle = overlapping(tmp_path)
    while not oracle.is_over():  # the last of all ends first, so that generations mix in the journal
        hands = []
        while (trial := oracle.create_trial(f"worker-{len(hands)}")).status == "RUNNING":
            hands.append(trial)
        complete(oracle, hands[-1])
        for number in range(len(hands)):
            oracle.give_up(f"worker-{number}")
    for generations in (5, 7, 9):
        again = overlapping(tmp_path, generations=generations)
        assert run(again) == 0 and len(again.evaluated()) == 36
        assert again.algorithm.evaluations == generations * SIZE
    assert answer(again) == answer(whole)


def test_one_process_announces_all_that_it_evaluates(tmp_path):
    announced, measured = [], []

    class Evaluator:
        def begin_generation(self, architectures):
            announced.extend(architectures)

        def evaluate(self, choices):
            assert choices in announced
            measured.append(choices)
            return {"accuracy": accuracy(choices)}

    oracle = overlapping(tmp_path)
    SupernetTuner(oracle, directory=tmp_path / "run", project_name="search", evaluator=Evaluator()).search()
    assert len(measured) == 36


def test_a_journal_belongs_to_one_number_of_generations_ahead(tmp_path):
    run(overlapping(tmp_path), 3)
    for ahead in (0, 1):
        with pytest.raises(InputError, match="ahead: expected"):
            overlapping(tmp_path, ahead=ahead).reload()


def test_what_does_not_breed_is_not_ahead():
    with pytest.raises(InputError, match=r"search\.ahead: expected 0 with the algorithm random, got 1"):
        SearchConfig(algorithm="random", ahead=1)
    with pytest.raises(InputError, match=r"search\.ahead"):
        SearchConfig(ahead=-1)


def test_children_are_remembered_until_so_many_further_generations_were_told():
    made = Made()
    made.add("a", 1)
    assert made.take() == {"a": 1} and made.take() == {}
    made.ahead = 1
    made.add("a", 1)
    made.add("a", 2)
    assert made.take() == {"a": 1}
    made.add("b", 3)
    assert made.take() == {"a": 1, "b": 3} and made.take() == {"b": 3} and made.take() == {}


def test_operators_count_the_children_of_all_generations(whole):
    told = sum(row["evaluated"] for row in whole.operator_statistics().values())
    assert 24 <= told <= 28  # of 28 children, but for those that were brought within the budget
    assert np.isfinite(whole.hypervolume).all()
