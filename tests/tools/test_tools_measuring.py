"""What the benchmarks share: child processes, turns and medians."""

import os

import pytest

import measuring


def test_the_functions_of_a_round_run_one_after_another():
    calls: list[str] = []
    found = measuring.alternate({name: lambda name=name: calls.append(name) or len(calls) for name in "ab"}, 3)
    assert calls == list("ababab")
    assert found == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_the_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians():
    median, rounds = measuring.round_ratios([2, 10, 3], [1, 20, 1])
    assert rounds == [2, 0.5, 3]
    assert median == 2  # the medians' would be 3


def facts(*arguments):
    import tensorflow as tf

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return arguments, os.environ.get(measuring.ONEDNN), threads, os.getpid()


def test_a_child_gets_its_arguments_mode_and_threads(monkeypatch):
    monkeypatch.delenv(measuring.ONEDNN, raising=False)
    arguments, mode, threads, process = measuring.in_child(facts, "--n", 3, onednn=0, threads=1)
    assert (arguments, mode, threads) == (("--n", 3), "0", 1) and process != os.getpid()
    assert measuring.in_child(facts)[1:3] == (None, 0)
    assert measuring.in_child(facts, complete=lambda found: found | {measuring.ONEDNN: "1"})[1] == "1"
    assert measuring.ONEDNN not in os.environ


def test_an_option_is_given_by_its_default():
    parser = measuring.command_line(None, pixels=64, sizes=([1.5], "of all"), step=False, folder=(None, "of files"))
    assert vars(parser.parse_args([])) == {"pixels": 64, "sizes": [1.5], "step": False, "folder": None}
    given = parser.parse_args(["--pixels=8", "--sizes", "2", "3", "--step", "--folder", "there"])
    assert vars(given) == {"pixels": 8, "sizes": [2.0, 3.0], "step": True, "folder": "there"}


def test_a_chosen_mode_is_the_only_one_and_both_begin_with_the_default(monkeypatch):
    parser = measuring.command_line(None, onednn=measuring.MODES)
    for default in (0, 1):
        monkeypatch.setattr(measuring, "default_onednn", lambda default=default: default)
        assert measuring.onednn_modes(parser.parse_args([]).onednn) == [default, 1 - default]
        assert measuring.onednn_modes(parser.parse_args(["--onednn", "0"]).onednn) == [0]


def growth_of_50_mb():
    return measuring.peak_bytes(), measuring.growth(lambda: bytearray(b"1") * 50_000_000)


def test_the_peak_memory_of_a_child_is_its_own():
    large = bytearray(b"1") * 300_000_000
    before, growth = measuring.in_child(growth_of_50_mb)
    assert before < 100_000_000 < len(large)  # Python takes some 20 MB
    assert growth == pytest.approx(50_000_000, rel=0.1)  # whole pages, and what was freed before is used again


def partner(tmp_path, step: str) -> measuring.Partner:
    child = tmp_path / "partner.py"
    child.write_text(f"import itertools, sys\nimport measuring\nturns = itertools.count()\nmeasuring.serve({step})\n")
    return measuring.Partner([measuring.sys.executable, child])


def test_a_partner_works_when_it_is_its_turn_only(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(measuring.os.path.dirname(measuring.__file__)))
    with partner(tmp_path, "lambda: {'turn': next(turns)}") as other:
        assert [other.turn(), other.turn()] == [{"turn": 0}, {"turn": 1}]
    assert other._process.returncode == 0


def test_a_partner_that_ends_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(measuring.os.path.dirname(measuring.__file__)))
    with partner(tmp_path, "lambda: sys.exit(3)") as other, pytest.raises(RuntimeError, match="exit code 3"):
        other.turn()


def test_rows_are_kept_and_not_computed_again(tmp_path):
    file, calls = tmp_path / "new" / "rows.jsonl", []

    def compute():
        calls.append(1)
        return {"top1": 0.5}

    first = measuring.Rows(file).once({"network": "a", "seed": 0}, compute)
    assert first["top1"] == 0.5 and first["cpu_seconds"] >= 0
    rows = measuring.Rows(file)
    assert rows.once({"network": "a", "seed": 0}, compute) == first and len(calls) == 1
    rows.once({"network": "a", "seed": 1}, compute)
    assert [row["seed"] for row in measuring.Rows(file)] == [0, 1]
    assert rows.known({"seed": 2}) is None
