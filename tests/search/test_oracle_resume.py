import json
import re
import subprocess
import sys

import pytest
from formula_search import TINY, answer, choices_of, complete, make, run

from scarlet_tf.errors import InputError
from scarlet_tf.search.mutation import UniformMutation


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
    with pytest.raises(InputError, match=r"trials\.jsonl: expected the first 20 trials, .* 18 are missing"):
        make(tmp_path).reload()


def test_journal_that_lost_lines_of_earlier_generations_is_refused(tmp_path):
    run(make(tmp_path), 15)  # 12 of them in earlier generations
    path = tmp_path / "search" / "trials.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[3:]]))
    with pytest.raises(InputError, match=r"trials\.jsonl: expected the first 12 trials, .* 2 are missing"):
        make(tmp_path).reload()


@pytest.mark.parametrize(
    "record, message",
    [
        ({"trial": "000000"}, "KeyError: 'architecture'"),
        ({"trial": "000000", "architecture": "1,2", "status": "COMPLETED"}, "ValueError"),
        (
            {"trial": "000000", "architecture": "0," * 7 + "0", "status": "COMPLETED", "metrics": {"accuracy": None}},
            r"BadMetrics: metrics\.accuracy: expected a number from 0 to 1, got None",
        ),
    ],
)
def test_damaged_record_is_refused_and_its_file_named(tmp_path, record, message):
    oracle = make(tmp_path)
    oracle.reload()
    oracle._journal.append(record)
    oracle._journal.close()
    with pytest.raises(InputError, match=rf"trials\.jsonl: could not be restored: {message}"):
        make(tmp_path).reload()


def test_journal_of_other_architectures_than_are_drawn_is_refused(tmp_path):
    run(make(tmp_path), 3)
    (tmp_path / "search" / "state.json").unlink()
    path = tmp_path / "search" / "trials.jsonl"
    drawn = json.loads(path.read_text().splitlines()[2])["architecture"]
    path.write_bytes(of_an_earlier_version(path.read_bytes()).replace(drawn.encode(), b"5,5,5,5,5,5,5,5"))
    oracle = make(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match=rf"trials\.jsonl: trial 000001: expected architecture {drawn}"):
            oracle.create_trial("tuner0")


def of_an_earlier_version(journal: bytes) -> bytes:
    """Without the CRC of each line."""
    return re.sub(rb',"crc":"\w{8}"}', b"}", journal)


@pytest.mark.parametrize("trials", [3, 15, None])
@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: text.replace("0.", "1.", 1)])
def test_a_damaged_state_is_made_again_from_the_journal(tmp_path, trials, damage):
    """In the first generation, in a later one and at the end: byte by byte, also where nothing is to be evaluated any more."""
    whole = make(tmp_path)
    run(whole, trials or 10**6)
    path = tmp_path / "search" / "state.json"
    before = path.read_bytes()
    path.write_text(damage(path.read_text()))
    repaired = make(tmp_path)
    repaired.stop_after(0)
    assert run(repaired) == 0
    assert path.read_bytes() == before and answer(repaired) == answer(whole)


def test_record_that_is_there_twice_counts_once(tmp_path):
    whole = make(tmp_path)
    run(whole, 3)
    path = tmp_path / "search" / "trials.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[2] + "\n")
    resumed = make(tmp_path)
    resumed.reload()
    assert resumed.start_order == resumed.end_order == ["000000", "000001", "000002"]
    assert resumed.evaluated() == whole.evaluated()


def test_state_with_missing_parts_is_refused(tmp_path):
    run(make(tmp_path), 3)
    path = tmp_path / "search" / "state.json"
    state = json.loads(path.read_text())
    del state["state"]["algorithm"]["rng"]
    path.write_text(json.dumps(state))
    with pytest.raises(InputError, match=r"state\.json: could not be restored: KeyError: 'rng'"):
        make(tmp_path).reload()


def test_other_processes_are_let_in_when_the_search_has_ended(tmp_path):
    code = "import sys; from scarlet_tf.search.journal import Journal; Journal(sys.argv[1], {}).open()"
    oracle = make(tmp_path)

    def complaint():
        command = [sys.executable, "-c", code, str(tmp_path / "search")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stderr

    run(oracle, 5)
    assert "got one running" in complaint()
    run(oracle)
    assert "it belongs to another search" in complaint()
    assert oracle.create_trial("tuner0").status == "STOPPED" and oracle.pareto_front()
