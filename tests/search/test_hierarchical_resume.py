"""A whole search with the default mutation: what is found, counted and learnt again."""

import numpy as np
from formula_search import BIG, answer, make, run

from scarlet_tf.search.config import MutationConfig
from scarlet_tf.search.mutation import UniformMutation


def oracle(folder, **changes):
    mutation = MutationConfig(ppo={"units": 8, "learning_rate": 0.01}).build(BIG, seed=0)
    return make(folder, mutation=mutation, **{"population_size": 6, "generations": 6, **changes})


def test_resumed_search_equals_an_uninterrupted_one(tmp_path):
    """Killed is what a process is that leaves nothing but its files: in the first, and between two generations."""
    whole = oracle(tmp_path / "whole")
    total = run(whole)
    done = 0
    for upto in (5, total - 6):
        done += run(oracle(tmp_path / "cut"), upto - done)
        oracle(tmp_path / "cut").create_trial("tuner0")  # handed out and lost
    resumed = oracle(tmp_path / "cut")
    assert done + run(resumed) == total
    assert answer(resumed) == answer(whole)
    assert resumed.operator_statistics() == whole.operator_statistics()
    controllers = [each.algorithm.mutation.operators["controller"] for each in (resumed, whole)]
    assert controllers[0].baseline == controllers[1].baseline is not None
    for ours, theirs in zip(*(controller.policy.weights for controller in controllers), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.any(controllers[0].policy.weights[4])  # it has learnt


def test_statistics_of_the_search_add_up(tmp_path):
    searched = oracle(tmp_path, population_size=8)
    run(searched)
    tallies = searched.operator_statistics()
    assert set(tallies) == {"random", "prior", "controller", "roulette", "crossover"}
    assert sum(t["evaluated"] for t in tallies.values()) == searched.evaluations - 16


def test_mutation_that_counts_nothing_has_no_statistics(tmp_path):
    assert make(tmp_path, mutation=UniformMutation(0.5)).operator_statistics() == {}
