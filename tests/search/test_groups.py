"""Groups of a generation: each architecture once, neighbours together, fair shares; what becomes of one without an answer."""

import time

import numpy as np
import pytest
from formula_search import BIG, answer, choices_of, complete, fail, make, run

from scarlet_tf.evaluation.prefix_tree import multiply_adds
from scarlet_tf.search.algorithm import encode
from scarlet_tf.search.groups import Grouping
from scarlet_tf.search.trials import GROUP, group_of
from scarlet_tf.search.workers import PatientClient
from scarlet_tf.space.cost import cost_table

COSTS = cost_table(BIG, 32, 10)


def generation(rng, count=70, parents=None):
    """Canonical strings in lexicographic order: drawn uniformly, or children of some parents, which begin alike."""
    genomes = rng.integers(BIG.num_choices, size=(count, BIG.num_layers))
    if parents is not None:
        genomes[:, : BIG.num_layers - 3] = genomes[rng.integers(parents, size=count), : BIG.num_layers - 3]
    return encode(np.unique(genomes, axis=0))


def tree_cost(lines):
    return multiply_adds(BIG, [tuple(map(int, line.split(","))) for line in lines], 32, 10)[1]


def split(lines, workers):
    """The groups that workers of one speed take one after another."""
    grouping, groups, left = Grouping(COSTS), [], lines
    while left:
        count = grouping.first(left, workers, lines)
        groups.append(left[:count])
        left = left[count:]
    return groups


@pytest.mark.parametrize("parents", [None, 4])
def test_every_architecture_is_in_one_group_and_the_groups_share_the_work_fairly(rng, parents):
    lines = generation(rng, parents=parents)
    groups = split(lines, 2)
    assert [line for group in groups for line in group] == lines
    whole, costs = tree_cost(lines), [tree_cost(group) for group in groups]
    assert 4 <= len(groups) <= 12
    assert sum(costs) < 1.3 * whole  # little is computed again
    assert max(costs) == max(costs[:2]) < 0.45 * whole and max(costs[-2:]) < 0.15 * whole
    ends = [0.0, 0.0]
    for cost in costs:
        ends[ends.index(min(ends))] += cost
    assert max(ends) < 0.65 * whole


def test_groups_are_cut_where_little_is_shared():
    lines = [f"{first},{second},0,0,0,0,0,{last}" for first in (0, 2, 5) for second in (0, 1) for last in range(4)]
    first, *rest = split(lines, 1)
    assert first == lines[:16] and sum(map(len, rest)) == 8
    assert split(lines[:1], 7) == [lines[:1]]
    assert all(len(group) == 1 for group in split(lines, 16))


def oracle_of_groups(folder, answered=True, **changes):
    """An oracle with groups, of which somebody who is gone has answered the first, unless `answered` is False."""
    oracle = make(folder, **{"population_size": 10, "generations": 3, **changes})
    oracle.grouping = Grouping(oracle.costs)
    if answered:
        work(oracle, "first")
        oracle.give_up("first")
    return oracle


def work(oracle, tuner, stop=None):
    """Take one group and answer `stop` of its trials, all by default; return its trials."""
    group = group_of(oracle.create_trial(tuner))
    for trial in group[:stop]:
        complete(oracle, trial)
    return group


def ids(trials):
    return [trial.trial_id for trial in trials]


def test_workers_get_groups_and_find_what_one_process_finds(tmp_path):
    whole = make(tmp_path / "whole", population_size=10, generations=3)
    run(whole)
    oracle, sizes, turn = oracle_of_groups(tmp_path / "run", answered=False), [], 0
    while not oracle.is_over():
        sizes.append(len(work(oracle, f"worker-{turn % 3}")))
        turn += 1
    assert max(sizes) > 2 and sum(sizes) == len(whole.trials)
    assert answer(oracle) == answer(whole)


def test_a_worker_that_died_within_its_group_gets_what_is_left_of_it(tmp_path):
    oracle = oracle_of_groups(tmp_path)
    group = work(oracle, "worker-0", stop=2)
    assert len(group) > 3
    other = work(oracle, "worker-1")
    assert ids(group_of(oracle.create_trial("worker-0"))) == ids(group[2:])
    oracle.give_up("worker-0")
    assert oracle.create_trial("worker-1").trial_id == group[2].trial_id
    assert not set(ids(group)) & set(ids(other))


def test_until_the_first_answer_groups_are_cut_for_many_workers(tmp_path):
    """The first of 32 workers must not get two thirds of the first generation because it asked before the others."""
    oracle = oracle_of_groups(tmp_path, answered=False, population_size=70)
    early = work(oracle, "worker-0", stop=0), work(oracle, "worker-1", stop=0)
    assert all(len(group) <= 9 for group in early)  # 140 / 32 / 1.5, and more where they have much in common
    work(oracle, "worker-0")
    assert 20 <= len(work(oracle, "worker-0", stop=0)) <= 60  # a third of 140 for each of two


def test_a_frozen_worker_costs_its_group_alone_and_its_late_answers_change_nothing(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    oracle = oracle_of_groups(tmp_path, stale_trial_seconds=60)
    frozen = work(oracle, "worker-0", stop=1)
    taken = []
    while oracle.create_trial("worker-1").status == "RUNNING":
        now[0] += 50  # each answer is a sign of life, and of worker-0 there is none
        taken += ids(work(oracle, "worker-1"))
        if set(ids(frozen[1:])) <= set(taken):
            break
    assert len(taken) == len(set(taken)) and frozen[0].trial_id not in taken
    before = oracle.evaluations
    for trial in frozen[1:]:
        complete(oracle, trial, accuracy=0.0)
    assert oracle.evaluations == before
    assert {c.architecture.choices: c.accuracy for c in oracle.evaluated()}[choices_of(frozen[1])] > 0


def test_a_failure_comes_again_at_once_and_the_rest_of_its_group_waits(tmp_path):
    oracle = oracle_of_groups(tmp_path)
    group = group_of(oracle.create_trial("worker-0"))
    fail(oracle, group[0])
    assert not oracle.ongoing_trials
    again = group_of(oracle.create_trial("worker-1"))
    assert ids(again)[:2] == ids(group)[:2]
    for trial in again[:1] * 2:
        fail(oracle, trial)
    assert oracle.get_trial(group[0].trial_id).status == "FAILED"
    assert oracle.create_trial("worker-0").trial_id == group[1].trial_id


def test_a_worker_hands_on_the_trials_of_its_group_without_asking(tmp_path, monkeypatch):
    oracle, asked = oracle_of_groups(tmp_path), []
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    client = PatientClient(oracle)
    monkeypatch.setattr(client, "_call", lambda name, tuner: asked.append(tuner) or getattr(oracle, name)(tuner))
    first = client.create_trial("worker-0")
    handed = [first, *(client.create_trial("worker-0") for _ in group_of(first)[1:])]
    assert asked == ["worker-0"] and ids(handed) == ids(group_of(first))
    assert [choices_of(trial) for trial in handed[1:]] == [choices_of(trial) for trial in group_of(first)[1:]]
    assert GROUP not in handed[1].hyperparameters.values and handed[1].status == "RUNNING"
    client.drop_group()
    assert ids([client.create_trial("worker-0")]) == ids(handed)[:1] and len(asked) == 2
