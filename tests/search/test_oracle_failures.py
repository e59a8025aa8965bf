import threading

import pytest
from formula_search import accuracy, answer, choices_of, complete, fail, make, run

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import encode


@pytest.mark.parametrize("metrics", [{"accuracy": float("nan")}, {"accuracy": float("inf")}, {"accuracy": 2.0}])
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
    oracle.engine.journal.close()
    assert answer(resumed) == answer(whole)


def test_failure_can_be_forgotten_in_the_same_process(tmp_path):
    whole, oracle = make(tmp_path / "whole"), make(tmp_path / "run")
    run(whole)
    for _ in range(6):
        fail(oracle, oracle.create_trial("tuner0"))
    oracle.forget_failure()
    run(oracle)
    assert answer(oracle) == answer(whole)


def test_failures_in_a_row_count_across_generations(tmp_path):
    oracle = make(tmp_path, population_size=2, max_retries_per_trial=0)
    run(oracle, 4)
    for _ in range(3):
        fail(oracle, oracle.create_trial("tuner0"))
    assert oracle.create_trial("tuner0").status == "STOPPED"
    assert oracle.failure.startswith("3 trials in a row failed; the last one, 000006")
    oracle.forget_failure()
    assert run(oracle, 1) == 1 and oracle.failure is None


def test_other_workers_success_after_the_stop_condemns_nothing(tmp_path):
    whole, oracle = make(tmp_path / "whole"), make(tmp_path / "run", max_retries_per_trial=0)
    run(whole)
    other = oracle.create_trial("tuner1")
    for _ in range(3):
        fail(oracle, oracle.create_trial("tuner0"))
    complete(oracle, other)
    assert oracle.failure is not None
    assert "FAILED" not in (tmp_path / "run/search/trials.jsonl").read_text()
    oracle.forget_failure()
    run(oracle)
    assert answer(oracle) == answer(whole)


def test_trial_that_could_not_be_journalled_can_be_ended_again(tmp_path, monkeypatch):
    oracle = make(tmp_path, max_retries_per_trial=0)
    run(oracle, 2)
    trial = oracle.create_trial("tuner0")
    with monkeypatch.context() as full:
        full.setattr(oracle.engine.journal, "append", raise_no_space)
        with pytest.raises(InputError, match="No space left"):
            complete(oracle, trial)
    assert len(oracle.evaluated()) == 2 and len(oracle.get_best_trials(3)) == 3
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert len(oracle.evaluated()) == 3 and not oracle.ongoing_trials


def test_trial_that_could_not_be_journalled_is_handed_out_afresh(tmp_path, monkeypatch):
    oracle = make(tmp_path, max_retries_per_trial=0)
    trial = oracle.create_trial("tuner0")
    with monkeypatch.context() as full:
        full.setattr(oracle.engine.journal, "append", raise_no_space)
        with pytest.raises(InputError, match="No space left"):
            complete(oracle, trial)
    again = oracle.create_trial("tuner0")
    # With its metrics there, KerasTuner would not report the second evaluation.
    assert again is trial and again.status == "RUNNING" and not again.metrics.exists("accuracy")
    assert run(oracle) == len(oracle.evaluated()) == len(oracle.trials)


def raise_no_space(record):
    raise InputError("trials.jsonl: could not be written: No space left on device")


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


def test_metrics_without_the_objective_are_refused_as_kerastuners_oracles_do(tmp_path):
    oracle = make(tmp_path)
    trial = oracle.create_trial("a")
    with pytest.raises(ValueError, match=r"metrics: expected the objective accuracy, got \['loss'\]"):
        oracle.update_trial(trial.trial_id, {"loss": 0.5})
    assert trial.status == "RUNNING"
    oracle.update_trial(trial.trial_id, {"loss": 0.5, "accuracy": 0.25})
    oracle.end_trial(trial.trial_id)
    assert oracle.get_trial(trial.trial_id).score == 0.25
