import json
import time
import types

import numpy as np
import pytest
from formula_search import accuracy, answer, choices_of, complete, fail, make, run

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.trials import REASON
from scarlet_tf.search.workers import IDENTITY, check_identity, identity


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test can add to what the oracle takes for the time."""
    real, extra = time.monotonic, types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: real() + extra.seconds)
    return extra


def test_a_stale_trial_goes_to_the_next_worker_and_counts_once(tmp_path, clock, caplog):
    whole = make(tmp_path / "whole")
    run(whole)
    oracle = make(tmp_path / "run", stale_trial_seconds=60)
    lost = oracle.create_trial("worker-0")
    clock.seconds = 59
    assert oracle.create_trial("worker-1").trial_id != lost.trial_id
    clock.seconds = 61
    taken = oracle.create_trial("worker-2")
    assert taken.trial_id == lost.trial_id and "worker-0 has not answered for 60 s" in caplog.text
    assert oracle.tuner_ids == {"worker-1", "worker-2"}
    complete(oracle, taken)
    complete(oracle, lost)  # the first worker answers after all
    complete(oracle, oracle.create_trial("worker-1"))
    run(oracle)
    assert answer(oracle) == answer(whole)
    lines = (tmp_path / "run/search/trials.jsonl").read_text().splitlines()[1:]
    ids = [json.loads(line)["trial"] for line in lines]
    assert sorted(ids) == sorted(whole.trials)


def test_the_late_answer_counts_where_it_comes_first(tmp_path, clock):
    oracle = make(tmp_path, stale_trial_seconds=60)
    late = oracle.create_trial("worker-0")
    clock.seconds = 61
    assert oracle.create_trial("worker-1").trial_id == late.trial_id
    complete(oracle, late)
    assert not oracle.ongoing_trials and oracle.evaluations == 1
    assert oracle.create_trial("worker-1").trial_id != late.trial_id
    assert oracle.get_trial(late.trial_id).score == accuracy(choices_of(late))


def test_a_late_failure_does_not_undo_an_answer_and_never_condemns_alone(tmp_path, clock):
    oracle = make(tmp_path, stale_trial_seconds=60)
    late = oracle.create_trial("worker-0")
    clock.seconds = 61
    again = oracle.create_trial("worker-1")
    fail(oracle, late)  # it goes back to the queue, while worker-1 is still at work on it
    complete(oracle, again)
    fail(oracle, late)
    assert [c.architecture.choices for c in oracle.evaluated()] == [choices_of(again)]
    assert oracle.create_trial("worker-2").trial_id != late.trial_id


def test_a_worker_keeps_its_own_trial_however_long_it_takes(tmp_path, clock):
    oracle = make(tmp_path, stale_trial_seconds=60)
    trial = oracle.create_trial("worker-0")
    clock.seconds = 1000
    assert oracle.create_trial("worker-0") is trial


@pytest.mark.parametrize("slowest, limit", [(30, 600), (90, 900)])
def test_without_a_limit_a_trial_is_stale_after_ten_times_the_slowest_answer(tmp_path, clock, caplog, slowest, limit):
    oracle = make(tmp_path)
    quick, lost = oracle.create_trial("worker-0"), oracle.create_trial("worker-1")
    clock.seconds = 5000  # nobody has answered: nobody knows how long it takes
    assert oracle.create_trial("worker-2").trial_id not in (quick.trial_id, lost.trial_id)
    oracle.give_up("worker-1")
    assert oracle.create_trial("worker-1").trial_id == lost.trial_id  # begins now
    oracle.give_up("worker-0")
    assert oracle.create_trial("worker-0").trial_id == quick.trial_id
    clock.seconds += slowest
    complete(oracle, quick)
    clock.seconds = 5000 + limit - 1
    assert oracle.create_trial("worker-0").trial_id != lost.trial_id
    clock.seconds = 5000 + limit + 2
    oracle.give_up("worker-0")
    oracle.give_up("worker-2")
    caplog.clear()
    assert oracle.create_trial("worker-3").trial_id == lost.trial_id
    assert f"worker-1 has not answered for {limit}" in caplog.text


def test_a_worker_that_is_given_up_leaves_its_trial_to_the_next(tmp_path):
    oracle = make(tmp_path)
    trial = oracle.create_trial("worker-0")
    oracle.give_up("worker-0")
    oracle.give_up("worker-7")  # nobody of that name
    assert not oracle.tuner_ids
    assert oracle.create_trial("worker-1").trial_id == trial.trial_id


def test_an_oracle_knows_its_end_without_being_asked_for_a_trial(tmp_path):
    oracle = make(tmp_path, generations=2)
    trials = [oracle.create_trial(f"worker-{i}") for i in range(8)]
    assert not oracle.is_over()
    for trial in trials:
        complete(oracle, trial)
    assert oracle.is_over() and oracle.algorithm.finished
    assert oracle.tuner_ids
    oracle.dismiss()
    assert not oracle.tuner_ids


def test_the_reason_of_a_failure_travels_as_a_hyperparameter(tmp_path, caplog):
    oracle = make(tmp_path)
    trial = oracle.create_trial("worker-0")
    trial.hyperparameters.values[REASON] = "RuntimeError: no memory"
    fail(oracle, trial, message=None)
    assert "failed and is run again: RuntimeError: no memory" in caplog.text


def test_a_chief_names_its_search_and_trials_stay_small(tmp_path):
    oracle = make(tmp_path)
    assert IDENTITY not in oracle.get_space().values
    oracle.identity = identity(oracle)
    space = oracle.get_space()
    assert json.loads(space.values[IDENTITY]) == {
        **{key: value for key, value in json.loads(json.dumps(oracle.fingerprint())).items() if key != "draws"},
        "supernet_weights": None,
    }
    assert IDENTITY not in oracle.create_trial("worker-0").hyperparameters.values
    assert len(oracle.hyperparameters.space) == oracle.space.num_layers


def supernet(value):
    return types.SimpleNamespace(variables=[np.zeros((2, 3), np.float32), np.full((2,), value, np.float32)])


@pytest.mark.parametrize(
    "changes, weights, message",
    [
        ({"seed": 1}, 0.5, "another search: seed: expected 0, found 1 here"),
        ({"context": "other images"}, 0.5, "context: expected None, found 'other images' here"),
        ({}, 0.25, "supernet_weights: expected '"),
        ({"generations": 9}, 0.5, None),
    ],
)
def test_a_worker_of_another_search_is_refused_by_the_first_difference(tmp_path, changes, weights, message):
    chief = make(tmp_path / "chief")
    chief.identity = identity(chief, supernet(0.5))
    own = identity(make(tmp_path / "worker", **changes), supernet(weights))
    if message is None:
        check_identity(own, chief.get_space(), "host:1")
        return
    with pytest.raises(InputError, match=message):
        check_identity(own, chief.get_space(), "host:1")


def test_a_service_that_is_none_of_ours_is_refused(tmp_path):
    oracle = make(tmp_path)
    with pytest.raises(InputError, match="expected a chief of this package at host:1"):
        check_identity(identity(oracle), oracle.get_space(), "host:1")


def test_bad_staleness_is_named(tmp_path):
    for bad in (0, -1, float("nan")):
        with pytest.raises(InputError, match="stale_trial_seconds: expected a number > 0 or None"):
            make(tmp_path, stale_trial_seconds=bad)
