import itertools
import json
import threading

import keras_tuner
import numpy as np
import pytest

from scarlet_tf.errors import InputError
from scarlet_tf.search.mutation import UniformMutation
from scarlet_tf.search.nsga2 import encode
from scarlet_tf.search.oracle import WeightedNSGA2Oracle
from scarlet_tf.space import Choice, SearchSpace, Stage

TINY = SearchSpace(
    "tiny", (Stage(8, 2, 2), Stage(16, 2, 2)), (Choice(3, 3), Choice(6, 5, True), Choice()), input_size=32
)
BIG = SearchSpace("big", (Stage(8, 4, 2), Stage(16, 4, 2)), tuple(Choice(e, 3) for e in range(1, 7)), input_size=32)


def accuracy(choices) -> float:
    return sum((i + 1) * (gene * 7 % 5) for i, gene in enumerate(choices)) % 97 / 97


def make(folder, space=BIG, **changes):
    settings = {"population_size": 4, "generations": 5, "max_multiply_adds": 1e9, "num_classes": 10, **changes}
    oracle = WeightedNSGA2Oracle(space, **settings)
    oracle._set_project_dir(str(folder), "search")  # what every KerasTuner tuner calls
    return oracle


def choices_of(trial):
    return tuple(trial.hyperparameters.values[name] for name in sorted(trial.hyperparameters.values))


def complete(oracle, trial, **metrics):
    oracle.update_trial(trial.trial_id, metrics or {"accuracy": accuracy(choices_of(trial))})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def fail(oracle, trial, message="Traceback\nValueError: broken"):
    trial.status, trial.message = "INVALID", message
    oracle.end_trial(trial)


def run(oracle, trials=10**6, tuner="tuner0"):
    """Runs up to `trials` trials; returns how many ran."""
    for count in range(trials):
        trial = oracle.create_trial(tuner)
        if trial.status == "STOPPED":
            return count
        assert trial.status == "RUNNING"
        complete(oracle, trial)
    return trials


def answer(oracle):
    return [c.to_dict() for c in oracle.pareto_front()], oracle.algorithm.state_dict()


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


def test_files_are_one_journal_and_one_state(tmp_path):
    run(make(tmp_path))
    assert sorted(p.name for p in (tmp_path / "search").iterdir()) == ["state.json", "trials.jsonl"]
    lines = [json.loads(line) for line in (tmp_path / "search" / "trials.jsonl").read_text().splitlines()]
    assert {"trial", "architecture", "status", "metrics", "seconds"} == set(lines[1])
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


@pytest.mark.parametrize("interruptions", [(1,), (3, 9), (8, 12, 16), (20,)])
def test_resumed_search_equals_an_uninterrupted_one(tmp_path, interruptions):
    whole = make(tmp_path / "whole")
    total = run(whole)
    done = 0
    for upto in interruptions:
        done += run(make(tmp_path / "cut"), upto - done)
        make(tmp_path / "cut").create_trial("tuner0")  # handed out and lost
    resumed = make(tmp_path / "cut")
    assert done + run(resumed) == total
    assert answer(resumed) == answer(whole)
    assert sorted(resumed.trials) == sorted(whole.trials)


def test_journal_ahead_of_its_snapshot_gives_the_same_search(tmp_path):
    whole = make(tmp_path)
    run(whole)
    (tmp_path / "search" / "state.json").unlink()
    replayed = make(tmp_path)
    assert run(replayed) == 0
    assert answer(replayed) == answer(whole)
    assert sorted(replayed.trials) == sorted(whole.trials)


def test_chief_that_was_restarted_knows_its_workers_trials(tmp_path):
    trial = make(tmp_path).create_trial("worker")
    restarted = make(tmp_path)
    complete(restarted, trial)
    assert [c.architecture.choices for c in restarted.evaluated()] == [choices_of(trial)]
    assert run(restarted) == len(restarted.trials) - 1
    with pytest.raises(InputError, match="trial '999999': expected one of this search"):
        restarted.get_trial("999999")


def test_finished_search_goes_on_when_generations_are_raised(tmp_path):
    longer = make(tmp_path / "a", generations=8)
    run(longer)
    run(make(tmp_path / "b"))
    extended = make(tmp_path / "b", generations=8)
    assert run(extended) > 0
    assert answer(extended) == answer(longer)


@pytest.mark.parametrize(
    "changes, key",
    [
        ({"seed": 1}, "seed: expected 1, found 0"),
        ({"max_multiply_adds": 2e9}, "max_multiply_adds: expected 2000000000.0, found 1000000000.0"),
        ({"population_size": 6}, "population_size: expected 6, found 4"),
        ({"weights": (1, 0, 0)}, "weights"),
        ({"min_accuracy": 0.1}, "min_accuracy: expected 0.1, found None"),
        ({"context": "abc"}, "context: expected 'abc', found None"),
        ({"mutation": UniformMutation(0.5)}, "mutation"),
        ({"space": TINY}, "space: expected 'tiny"),
    ],
)
def test_journal_of_another_search_is_refused(tmp_path, changes, key):
    run(make(tmp_path), 3)
    with pytest.raises(InputError, match=rf"state\.json: it belongs to another search: {key}"):
        make(tmp_path, **changes).reload()


def test_journal_that_lost_lines_is_refused(tmp_path):
    run(make(tmp_path))
    path = tmp_path / "search" / "trials.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(InputError, match=r"trials\.jsonl: expected the \d+ trials or more .* found 2"):
        make(tmp_path).reload()


def test_state_with_missing_parts_is_refused(tmp_path):
    run(make(tmp_path), 3)
    path = tmp_path / "search" / "state.json"
    state = json.loads(path.read_text())
    del state["state"]["algorithm"]["rng"]
    path.write_text(json.dumps(state))
    with pytest.raises(InputError, match=r"state\.json: could not be restored: KeyError: 'rng'"):
        make(tmp_path).reload()


@pytest.mark.parametrize(
    "metrics", [{"accuracy": float("nan")}, {"accuracy": float("inf")}, {"accuracy": 2.0}, {"loss": 1.0}]
)
def test_bad_metrics_never_count_and_the_retry_does(tmp_path, caplog, metrics):
    oracle = make(tmp_path)
    trial = oracle.create_trial("tuner0")
    complete(oracle, trial, **metrics)
    assert trial.status == "INVALID" and not oracle.evaluated()
    assert "failed and is run again: metrics.accuracy" in caplog.text
    run(oracle)
    assert oracle.evaluations == 20
    assert oracle.get_trial(trial.trial_id).score == accuracy(choices_of(trial))
    assert oracle.get_trial(trial.trial_id).metrics.get_best_value("accuracy") == accuracy(choices_of(trial))


def test_architecture_that_fails_for_good_is_infeasible_and_stays_so(tmp_path):
    def with_bad_one(oracle, bad):
        failures = 0
        while (trial := oracle.create_trial("tuner0")).status != "STOPPED":
            if encode([choices_of(trial)])[0] == bad:
                fail(oracle, trial)
                failures += 1
            else:
                complete(oracle, trial)
        return failures

    bad = encode(make(tmp_path / "look").algorithm.ask())[2]
    oracle = make(tmp_path / "run")
    assert with_bad_one(oracle, bad) == 2  # the retry too
    assert oracle.evaluations == 20 and oracle.failure is None
    assert bad not in encode([c.architecture.choices for c in oracle.evaluated()])
    assert '"status":"FAILED","message":"ValueError: broken"' in (tmp_path / "run/search/trials.jsonl").read_text()
    resumed = make(tmp_path / "run")
    assert run(resumed) == 0 and answer(resumed) == answer(oracle)


def test_failures_in_a_row_stop_the_search_and_condemn_nothing(tmp_path):
    whole = make(tmp_path / "whole")
    run(whole)
    oracle = make(tmp_path / "run")
    run(oracle, 2)
    for _ in range(6):
        fail(oracle, oracle.create_trial("tuner0"))
    assert "3 trials in a row failed" in oracle.failure and "ValueError: broken" in oracle.failure
    assert oracle.create_trial("tuner0").status == "STOPPED" and not oracle.tuner_ids
    assert "FAILED" not in (tmp_path / "run/search/trials.jsonl").read_text()
    resumed = make(tmp_path / "run")
    run(resumed)
    oracle.forget_failure()
    oracle._journal.close()
    assert answer(resumed) == answer(whole)


def test_failure_can_be_forgotten_in_the_same_process(tmp_path):
    whole, oracle = make(tmp_path / "whole"), make(tmp_path / "run")
    run(whole)
    for _ in range(6):
        fail(oracle, oracle.create_trial("tuner0"))
    oracle.forget_failure()
    run(oracle)
    assert answer(oracle) == answer(whole)


def test_error_inside_does_not_keep_the_lock(tmp_path):
    run(make(tmp_path), 3)
    oracle = make(tmp_path, seed=1)
    with pytest.raises(InputError):
        oracle.create_trial("tuner0")
    caught = []

    def other_thread():
        try:
            oracle.create_trial("tuner1")
        except InputError as error:
            caught.append(error)

    thread = threading.Thread(target=other_thread, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert caught


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
