import subprocess
import sys

import numpy as np
import pytest
from formula_search import TINY, answer, choices_of, complete, make, run

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.mutation import UniformMutation


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nothing interrupted."""
    oracle = make(tmp_path_factory.mktemp("whole"))
    run(oracle)
    return oracle


@pytest.mark.parametrize("killed_at", range(21))
def test_search_killed_at_any_trial_and_resumed_equals_an_uninterrupted_one(tmp_path, whole, killed_at):
    done = run(make(tmp_path), killed_at)
    make(tmp_path).create_trial("tuner0")  # handed out and lost
    resumed = make(tmp_path)
    resumed.reload()
    assert len(resumed.trials) == done and resumed.evaluations >= done
    assert done + run(resumed) == len(whole.trials)
    assert answer(resumed) == answer(whole)
    assert sorted(resumed.trials) == sorted(whole.trials)


def test_search_killed_many_times_equals_an_uninterrupted_one(tmp_path, whole):
    done = 0
    for upto in (3, 9, 10, 16):
        done += run(make(tmp_path), upto - done)
    resumed = make(tmp_path)
    assert done + run(resumed) == len(whole.trials)
    assert answer(resumed) == answer(whole)


def test_the_state_before_a_kill_is_that_after_it(tmp_path):
    """Whatever a search shows between two trials follows from its journal."""
    for trials in (0, 5, 8, 13, 20):
        oracle = make(tmp_path / str(trials))
        run(oracle, trials)
        oracle.is_over()  # as every worker that asks for a trial has it go on to the next generation
        resumed = make(tmp_path / str(trials))
        assert answer(resumed) == answer(oracle)
        assert resumed.open_architectures() == oracle.open_architectures()
        assert [c.to_dict() for c in resumed.evaluated()] == [c.to_dict() for c in oracle.evaluated()]
        assert (resumed.start_order, resumed.end_order) == (oracle.start_order, oracle.end_order)


def test_a_search_that_is_shorter_now_keeps_what_was_evaluated(tmp_path, whole):
    run(make(tmp_path))
    shorter = make(tmp_path, generations=3)
    assert run(shorter) == 0
    assert shorter.evaluated() == whole.evaluated() and shorter.algorithm.evaluations == 12


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
        (
            {"max_multiply_adds": 2e9},
            "upper_bounds: expected {'multiply_adds': 2000000000.0}, found ",
        ),
        ({"population_size": 6}, "population_size: expected 6, found 4"),
        ({"weights": (1, 0, 0)}, "weights"),
        ({"min_accuracy": 0.1}, "lower_bounds: expected {'accuracy': 0.1}, found {}"),
        ({"context": "abc"}, "context: expected 'abc', found None"),
        ({"mutation": UniformMutation(0.5)}, "mutation"),
        ({"space": TINY}, "space: expected 'tiny"),
    ],
)
def test_journal_of_another_search_is_refused(tmp_path, changes, key):
    run(make(tmp_path), 3)
    with pytest.raises(InputError, match=rf"trials\.jsonl: it belongs to another search: {key}"):
        make(tmp_path, **changes).reload()


def test_lines_that_a_power_cut_lost_are_evaluated_again(tmp_path, whole):
    run(make(tmp_path))
    path = tmp_path / "search" / "trials.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    resumed = make(tmp_path)
    assert run(resumed) == len(whole.trials) - 2 and answer(resumed) == answer(whole)


def test_journal_that_lost_lines_of_earlier_generations_is_refused(tmp_path):
    run(make(tmp_path), 15)  # 12 of them in earlier generations
    path = tmp_path / "search" / "trials.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[3:]]))
    with pytest.raises(InputError, match=r"trials\.jsonl: trial 000008: expected 000000, 000001 before it"):
        make(tmp_path).reload()


@pytest.mark.parametrize(
    "record, message",
    [
        ({"trial": "000000"}, "could not be restored: KeyError: 'architecture'"),
        (
            {"trial": "000000", "architecture": "1,2", "status": "FAILED"},
            "trial 000000: expected architecture .* found 1,2",
        ),
    ],
)
def test_damaged_record_is_refused_and_its_file_named(tmp_path, record, message):
    oracle = make(tmp_path)
    oracle.reload()
    oracle.engine.journal.append(record)
    oracle.engine.journal.close()
    with pytest.raises(InputError, match=rf"trials\.jsonl: {message}"):
        make(tmp_path).reload()


def test_record_of_a_bad_accuracy_is_refused(tmp_path):
    oracle = make(tmp_path)
    trial = oracle.create_trial("tuner0")
    line = ",".join(map(str, choices_of(trial)))
    record = {"trial": trial.trial_id, "architecture": line, "status": "COMPLETED", "metrics": {"accuracy": None}}
    oracle.engine.journal.append(record)
    oracle.engine.journal.close()
    with pytest.raises(InputError, match=r"trials\.jsonl: metrics\.accuracy: expected a number from 0 to 1, got None"):
        make(tmp_path).reload()


def test_journal_of_other_architectures_than_are_drawn_is_refused_each_time(tmp_path):
    oracle = make(tmp_path)
    drawn = oracle.create_trial("tuner0")
    record = {"trial": drawn.trial_id, "architecture": "5,5,5,5,5,5,5,5", "status": "FAILED"}
    oracle.engine.journal.append(record)
    oracle.engine.journal.close()
    oracle, line = make(tmp_path), ",".join(map(str, choices_of(drawn)))
    for _ in range(2):
        with pytest.raises(InputError, match=rf"trials\.jsonl: trial 000000: expected architecture {line}, found 5,5"):
            oracle.create_trial("tuner0")


def test_journal_of_a_library_that_draws_otherwise_is_refused(tmp_path, monkeypatch):
    run(make(tmp_path), 3)
    monkeypatch.setattr(np, "__version__", "9.1.0")
    with pytest.raises(InputError, match=r"another search: draws: expected 'numpy 9\.1, pymoo .*', found 'numpy \d"):
        make(tmp_path).reload()


def test_record_that_is_there_twice_counts_once(tmp_path):
    whole = make(tmp_path)
    run(whole, 3)
    path = tmp_path / "search" / "trials.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[2] + "\n")
    resumed = make(tmp_path)
    resumed.reload()
    assert resumed.start_order == resumed.end_order == ["000000", "000001", "000002"]
    assert resumed.evaluated() == whole.evaluated()


def test_other_processes_are_let_in_when_the_search_has_ended(tmp_path):
    code = (
        "import sys; from scarlet_tf.search.journal import Journal; Journal(sys.argv[1] + '/trials.jsonl', {}).open()"
    )
    oracle = make(tmp_path)

    def complaint():
        command = [sys.executable, "-c", code, str(tmp_path / "search")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stderr

    run(oracle, 5)
    assert "got one running" in complaint()
    run(oracle)
    assert "it belongs to another search" in complaint()
    assert oracle.create_trial("tuner0").status == "STOPPED" and oracle.pareto_front()


def test_scores_are_kept_in_the_journal(tmp_path):
    oracle = make(tmp_path)
    for number in range(8):
        complete(oracle, oracle.create_trial("tuner0"), accuracy=0.9 - number / 100, score=0.1 + number / 100)
    again = make(tmp_path)
    again.reload()
    scores = [round(candidate.score, 2) for candidate in again.evaluated()]
    assert scores == [round(0.1 + number / 100, 2) for number in range(8)]
    assert again.get_best_trials(1)[0].score == pytest.approx(0.17)
