import itertools
import json
import random

import keras_tuner
import numpy as np
from formula_search import TINY, accuracy, answer, choices_of, complete, make, run


def test_search_runs_to_its_end(tmp_path):
    oracle = make(tmp_path)
    ran = run(oracle)
    assert oracle.evaluations == 20 and oracle.remaining_trials() == 0
    assert ran == len(oracle.trials) == len(oracle.evaluated()) <= 20
    assert len(oracle.hypervolume) == 4
    assert not oracle.tuner_ids and not oracle.ongoing_trials
    best = oracle.get_best_trials(1)[0]
    assert best.score == max(c.accuracy for c in oracle.evaluated())
    assert best.metrics.get_best_value("multiply_adds") > 0


def test_there_is_one_file_the_journal(tmp_path):
    run(make(tmp_path))
    assert sorted(p.name for p in (tmp_path / "search").glob("[!.]*")) == ["trials.jsonl"]
    lines = [json.loads(line) for line in (tmp_path / "search" / "trials.jsonl").read_text().splitlines()]
    assert {"trial", "architecture", "status", "metrics", "seconds", "crc"} == set(lines[1])
    assert {"accuracy", "multiply_adds", "params"} == set(lines[1]["metrics"])
    assert [line["trial"] for line in lines[1:]] == [f"{i:06d}" for i in range(len(lines) - 1)]


def test_front_of_all_evaluated_equals_brute_force(tmp_path):
    oracle = make(tmp_path, TINY, population_size=30, generations=6)
    run(oracle)
    everything = list(itertools.product(range(3), repeat=4))
    scores = {g: (-accuracy(g), *(np.array(oracle.costs.count_one(g)) * (1, -1))) for g in everything}
    truth = {
        g
        for g, s in scores.items()
        if not any(o != s and all(a <= b for a, b in zip(o, s, strict=True)) for o in scores.values())
    }
    front = oracle.pareto_front()
    assert {c.architecture.choices for c in front} == truth
    assert [c.multiply_adds for c in front] == sorted(c.multiply_adds for c in front)


def test_known_architectures_are_not_evaluated_again(tmp_path):
    oracle = make(tmp_path, TINY, population_size=30, generations=10)
    ran = run(oracle)
    assert ran == len(oracle.trials) == len({c.architecture.choices for c in oracle.evaluated()}) <= 81
    assert oracle.evaluations == 300


def test_seed_zero_is_deterministic(tmp_path):
    first, second, other = make(tmp_path / "0"), make(tmp_path / "1"), make(tmp_path / "2", seed=1)
    for oracle in (first, second, other):
        run(oracle)
    assert answer(first) == answer(second) != answer(other)
    assert first.seed == 0


def test_idle_is_the_generation_barrier(tmp_path):
    oracle = make(tmp_path)
    trials = [oracle.create_trial(f"tuner{i}") for i in range(8)]
    assert [t.status for t in trials] == ["RUNNING"] * 8
    assert oracle.create_trial("tuner8").status == "IDLE"
    for trial in trials[1:]:
        complete(oracle, trial)
    assert oracle.create_trial("tuner8").status == "IDLE"
    assert oracle.create_trial("tuner0") is trials[0]  # a restarted worker gets its trial back
    complete(oracle, trials[0])
    assert oracle.algorithm.generation == 0
    assert oracle.create_trial("tuner8").status == "RUNNING"
    assert oracle.algorithm.generation == 2


def test_order_of_completion_does_not_matter(tmp_path):
    straight, reversed_ = make(tmp_path / "a"), make(tmp_path / "b")
    run(straight)
    while True:
        trials = [
            oracle_trial for i in range(8) if (oracle_trial := reversed_.create_trial(f"t{i}")).status == "RUNNING"
        ]
        if not trials:
            break
        for trial in reversed(trials):
            complete(reversed_, trial)
    assert answer(straight) == answer(reversed_)


def test_ending_a_trial_twice_changes_nothing(tmp_path):
    oracle = make(tmp_path)
    trial = oracle.create_trial("tuner0")
    complete(oracle, trial)
    size = (tmp_path / "search" / "trials.jsonl").stat().st_size
    complete(oracle, trial, accuracy=0.99)
    assert (tmp_path / "search" / "trials.jsonl").stat().st_size == size
    assert oracle.evaluated()[0].accuracy == accuracy(choices_of(trial))


def test_global_random_state_is_left_alone(tmp_path):
    before = random.getstate()
    run(make(tmp_path))
    assert random.getstate() == before


def test_floor_keeps_models_out_of_the_front(tmp_path):
    oracle = make(tmp_path, min_accuracy=0.5)
    run(oracle)
    assert any(c.accuracy <= 0.5 for c in oracle.evaluated())
    assert all(c.accuracy > 0.5 for c in oracle.pareto_front())


def test_every_trial_shares_one_hyperparameter_space(tmp_path):
    oracle = make(tmp_path)
    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    assert first.hyperparameters.space is second.hyperparameters.space
    assert isinstance(first.hyperparameters, keras_tuner.HyperParameters)
    assert first.hyperparameters.get("layer_00") == choices_of(first)[0]
    assert first.hyperparameters.values != second.hyperparameters.values


def test_the_default_mutation_is_the_published_one(tmp_path):
    operators = make(tmp_path, mutation=None).fingerprint()["mutation"]["operators"]
    shares = {name: round(operator["probability"], 6) for name, operator in operators.items()}
    assert shares == {"random": 0.2, "prior": 0.15, "controller": 0.455, "roulette": 0.195}
