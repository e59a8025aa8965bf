"""A whole search with the default mutation: what is found, counted and restored."""

import json

from formula_search import BIG, answer, make, run

from scarlet_tf.search.mutation import UniformMutation
from scarlet_tf.search.mutation_config import MutationConfig


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
    states = [json.loads((tmp_path / name / "search/state.json").read_text()) for name in ("cut", "whole")]
    assert states[0] == states[1]
    learnt = states[0]["state"]["algorithm"]["mutation"]["operators"]["controller"]
    assert learnt["baseline"] is not None and learnt["variables"][5]["dtype"] == "int64"


def test_statistics_of_the_search_add_up(tmp_path):
    searched = oracle(tmp_path, population_size=8)
    run(searched)
    tallies = searched.operator_statistics()
    assert set(tallies) == {"random", "prior", "controller", "roulette", "crossover"}
    assert sum(t["evaluated"] for t in tallies.values()) == searched.evaluations - 16


def test_mutation_that_counts_nothing_has_no_statistics(tmp_path):
    assert make(tmp_path, mutation=UniformMutation(0.5)).operator_statistics() == {}
