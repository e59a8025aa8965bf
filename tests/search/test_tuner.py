import logging
import math
import threading
import time

import pytest
from keras_tuner import errors
from keras_tuner.engine.base_tuner import BaseTuner

from scarlet_tf.base import progress
from scarlet_tf.base.errors import InputError
from scarlet_tf.search.mutation import UniformMutation
from scarlet_tf.search.oracle import WeightedNSGA2Oracle
from scarlet_tf.search.tuner import SupernetTuner
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import SearchSpace

BIG = SearchSpace("big", (Stage(8, 4, 2), Stage(16, 4, 2)), tuple(Choice(e, 3) for e in range(1, 7)), input_size=32)


class Evaluator:
    """Scores by a formula; `broken` says for which calls, counted from 0, it returns or raises something else."""

    def __init__(self, broken=None):
        self.broken = broken or {}
        self.seen = []

    def evaluate(self, choices):
        call = len(self.seen)
        self.seen.append(choices)
        special = self.broken.get(call)
        if isinstance(special, BaseException):
            raise special
        return special if special is not None else {"accuracy": sum(choices) / 64, "loss": 1.5}


def make(folder, evaluator=None, **changes):
    oracle = WeightedNSGA2Oracle(
        BIG, population_size=4, generations=4, max_multiply_adds=1e9, num_classes=10, mutation=UniformMutation()
    )
    tuner = SupernetTuner(
        oracle, directory=folder, project_name="search", evaluator=evaluator or Evaluator(), **changes
    )
    return oracle, tuner


def test_search_evaluates_every_trial_quietly(tmp_path, capsys):
    evaluator = Evaluator()
    oracle, tuner = make(tmp_path, evaluator)
    tuner.search()
    assert oracle.evaluations == 16
    assert set(evaluator.seen) == {c.architecture.choices for c in oracle.evaluated()}
    assert capsys.readouterr().out == ""
    assert sorted(p.name for p in (tmp_path / "search").glob("[!.]*")) == ["trials.jsonl"]
    assert oracle.get_best_trials(1)[0].metrics.get_best_value("loss") == 1.5


def test_search_again_evaluates_nothing(tmp_path, capsys):
    first, tuner = make(tmp_path)
    tuner.search()
    evaluator = Evaluator()
    second, tuner = make(tmp_path, evaluator)
    tuner.search()
    assert evaluator.seen == []
    assert second.pareto_front() == first.pareto_front()
    assert capsys.readouterr().out == ""


def test_results_summary_is_made_from_the_journal(tmp_path, capsys):
    first, tuner = make(tmp_path)
    tuner.search()
    make(tmp_path)[1].results_summary(2)
    text = capsys.readouterr().out
    best = max(first.pareto_front(), key=lambda candidate: candidate.accuracy)
    assert "Showing 2 best trials" in text and f"Score: {best.accuracy}" in text
    assert f"Pareto front: {len(first.pareto_front())} models" in text
    assert all(candidate.architecture.to_string() in text for candidate in first.pareto_front())


def test_overwrite_begins_anew(tmp_path):
    make(tmp_path)[1].search()
    evaluator = Evaluator()
    make(tmp_path, evaluator, overwrite=True)[1].search()
    assert len(evaluator.seen) > 0


@pytest.mark.parametrize("bad", [{"accuracy": math.nan}, {"loss": 1.0}, RuntimeError("no memory"), 5])
def test_one_bad_evaluation_is_logged_and_retried(tmp_path, caplog, capsys, bad):
    oracle, tuner = make(tmp_path, Evaluator({2: bad}))
    tuner.search()
    assert oracle.evaluations == 16 and len(oracle.evaluated()) == len(oracle.trials)
    assert "trial 000002" in caplog.text and "failed and is run again" in caplog.text
    assert capsys.readouterr() == ("", "")
    if isinstance(bad, Exception):
        assert "RuntimeError: no memory" in caplog.text


def test_too_many_failures_raise_with_their_cause_and_a_rerun_goes_on(tmp_path):
    whole, tuner = make(tmp_path / "whole")
    tuner.search()
    cause = RuntimeError("no memory")
    evaluator = Evaluator(dict.fromkeys(range(5, 99), cause))
    oracle, tuner = make(tmp_path / "run", evaluator)
    with pytest.raises(RuntimeError, match=r"3 trials in a row failed.*no memory") as caught:
        tuner.search()
    assert caught.value.__cause__ is cause
    evaluator.broken = {}
    tuner.search()
    assert oracle.pareto_front() == whole.pareto_front()


def test_bad_input_is_raised_at_once_as_it_is(tmp_path):
    cause = InputError("validation_data: expected images, got none")
    evaluator = Evaluator({0: cause})
    with pytest.raises(InputError, match="validation_data: expected images, got none"):
        make(tmp_path, evaluator)[1].search()
    assert len(evaluator.seen) == 1


def test_interrupted_search_goes_on(tmp_path):
    whole, tuner = make(tmp_path / "whole")
    tuner.search()
    evaluator = Evaluator()

    def interrupt(choices):
        if len(evaluator.seen) == 5:
            raise KeyboardInterrupt
        return Evaluator.evaluate(evaluator, choices)

    evaluator.evaluate = interrupt
    oracle, tuner = make(tmp_path / "run", evaluator)
    with pytest.raises(KeyboardInterrupt):
        tuner.search()
    rest = Evaluator()
    resumed, tuner = make(tmp_path / "run", rest)
    tuner.search()
    assert not set(rest.seen) & set(evaluator.seen)
    assert resumed.pareto_front() == whole.pareto_front()
    assert oracle.failure is None


def test_evaluator_hears_of_each_generation_before_its_first_trial(tmp_path):
    class Batched(Evaluator):
        def __init__(self):
            super().__init__()
            self.generations = []

        def begin_generation(self, architectures):
            self.generations.append((len(self.seen), architectures))

    evaluator = Batched()
    make(tmp_path, evaluator)[1].search()
    announced = [choices for _, generation in evaluator.generations for choices in generation]
    assert announced == evaluator.seen
    assert [start for start, _ in evaluator.generations][:2] == [0, 8]


def test_models_that_were_evaluated_together_advance_the_bar_together(tmp_path, caplog, monkeypatch):
    """Else it would take the moment in which their results are handed over for the speed of the search."""

    class Grouped(Evaluator):
        num_ready = 0

        def begin_generation(self, architectures):
            self.num_ready = len(architectures)

        def evaluate(self, choices):
            self.num_ready -= 1
            return super().evaluate(choices)

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    caplog.set_level(logging.INFO, logger="scarlet_tf")
    make(tmp_path, Grouped())[1].search()
    lines = [record.getMessage().split()[1] for record in caplog.records if record.getMessage().startswith("search ")]
    assert lines == ["8/16", "12/16", "16/16"]


def test_idle_requests_are_throttled(tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    _, tuner = make(tmp_path)
    for _ in range(8):
        tuner.pre_create_trial()
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    tuner.on_trial_begin(None)
    tuner.pre_create_trial()
    assert len(pauses) == 7


def test_without_evaluator_a_supernet_and_data_are_needed(tmp_path):
    oracle, _ = make(tmp_path)
    tuner = SupernetTuner(oracle, directory=tmp_path, project_name="search")
    with pytest.raises(InputError, match="expected a supernet and validation data, or an evaluator"):
        tuner.search()


def test_other_oracles_and_overwriting_workers_are_refused(tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match="oracle: expected a WeightedNSGA2Oracle or another one of KerasTuner, got str"
    ):
        SupernetTuner("oracle")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker0")
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    with pytest.raises(InputError, match="overwrite: expected False on a worker"):
        make(tmp_path, overwrite=True)


@pytest.mark.parametrize("kind", ["FatalError", "FatalValueError", "FatalTypeError", "FatalRuntimeError"])
def test_fatal_errors_end_the_search_at_once(tmp_path, kind):
    cause = getattr(errors, kind)("the disk is gone")
    evaluator = Evaluator({1: cause})
    with pytest.raises(errors.FatalError) as caught:
        make(tmp_path, evaluator)[1].search()
    assert caught.value is cause and len(evaluator.seen) == 2


def test_a_failed_trial_error_is_not_retried(tmp_path, caplog):
    evaluator = Evaluator({2: errors.FailedTrialError("too slow")})
    oracle, tuner = make(tmp_path, evaluator)
    tuner.search()
    assert evaluator.seen.count(evaluator.seen[2]) == 1
    assert oracle.get_trial("000002").status == "FAILED" and "FailedTrialError: too slow" in caplog.text
    assert len(oracle.evaluated()) == len(oracle.trials) - 1


def test_verbose_prints_each_trial(tmp_path, capsys):
    oracle, tuner = make(tmp_path, Evaluator({1: RuntimeError("once")}))
    tuner.search(verbose=1)
    text = capsys.readouterr().out
    runs = len(oracle.trials) + 1  # one of them twice
    assert text.count("Search: Running Trial #") == text.count("Complete [") == runs
    assert f"Best accuracy So Far: {max(c.accuracy for c in oracle.evaluated())}" in text


class Stock(BaseTuner):
    """KerasTuner's own tuner around the oracle."""

    def __init__(self, oracle, folder, broken):
        self.broken, self.ran = broken, []
        super().__init__(oracle, directory=folder, project_name="search")

    def run_trial(self, trial):
        self.ran.append(trial.trial_id)
        if len(self.ran) - 1 in self.broken:
            raise ValueError("broken")
        return {"accuracy": 0.5}


def stock(folder, broken, **options):
    oracle = WeightedNSGA2Oracle(BIG, population_size=4, generations=2, mutation=UniformMutation(), **options)
    return Stock(oracle, folder, broken)


def test_a_stock_tuner_is_told_of_failures_in_a_row(tmp_path):
    tuner = stock(tmp_path / "a", {1, 2, 3, 4}, max_retries_per_trial=0)
    with pytest.raises(RuntimeError, match=r"3 trials in a row failed; the last one, 000003 .*ValueError: broken"):
        tuner.search()
    assert len(tuner.ran) == 4 and not tuner.oracle.ongoing_trials
    tuner = stock(tmp_path / "b", {0, 1, 3, 4}, max_retries_per_trial=0)
    tuner.search()
    assert tuner.oracle.remaining_trials() == 0


def test_trials_end_in_both_of_kerastuners_forms(tmp_path):
    oracle = stock(tmp_path, ()).oracle
    new, old, named = (oracle.create_trial(f"tuner{i}") for i in range(3))
    for trial in (new, old, named):
        oracle.update_trial(trial.trial_id, {"accuracy": 0.25})
    new.status = "COMPLETED"
    oracle.end_trial(new)
    oracle.end_trial(old.trial_id, "COMPLETED")
    assert [c.accuracy for c in oracle.evaluated()] == [0.25, 0.25]
    oracle.end_trial(trial_id=named.trial_id, status="INVALID")
    assert oracle.create_trial("tuner3").trial_id == named.trial_id  # run again
    with pytest.raises(InputError, match="trial 'nine': expected one of this search"):
        oracle.end_trial("nine", "COMPLETED")


class Waiting(Evaluator):
    """Tells that an evaluation has begun, and waits with the answer."""

    def __init__(self):
        super().__init__()
        self.began, self.goes_on = threading.Event(), threading.Event()

    def evaluate(self, choices):
        self.began.set()
        assert self.goes_on.wait(60)
        return super().evaluate(choices)


def test_a_second_search_of_a_thread_in_one_folder_is_refused(tmp_path):
    evaluator = Waiting()
    oracle, tuner = make(tmp_path, evaluator)
    thread = threading.Thread(target=tuner.search)
    thread.start()
    assert evaluator.began.wait(60)
    other = Evaluator()
    with pytest.raises(InputError, match=r"trials\.jsonl: expected no other search .* running in another thread"):
        make(tmp_path, other)[1].search()
    evaluator.goes_on.set()
    thread.join()
    assert (oracle.evaluations, other.seen) == (16, [])
    # Afterwards the folder is free, and an interrupted search does not keep it.
    make(tmp_path, other)[1].search()
    assert other.seen == []


def test_a_search_that_another_one_has_overtaken_writes_nothing(tmp_path):
    """Both have read an empty folder; a stock tuner of KerasTuner would interleave their trials."""
    oracle, tuner = make(tmp_path)
    _, stale = make(tmp_path)
    tuner.search()
    folder = tmp_path / "search"
    content = {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
    with pytest.raises(InputError, match="another search of this process has written to it since"):
        stale.search()
    assert content == {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
    assert oracle.evaluations == make(tmp_path)[0].evaluations == 16


def test_a_search_that_was_interrupted_leaves_the_folder_free(tmp_path):
    _, tuner = make(tmp_path, Evaluator({5: KeyboardInterrupt()}))
    with pytest.raises(KeyboardInterrupt):
        tuner.search()
    oracle, again = make(tmp_path)
    again.search()
    assert oracle.evaluations == 16
