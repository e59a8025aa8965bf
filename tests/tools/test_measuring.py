"""What the benchmarks share: child processes, turns and medians."""

import argparse

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


def test_a_child_gets_its_options_and_mode_and_its_last_line_counts(tmp_path, monkeypatch):
    monkeypatch.delenv(measuring.ONEDNN, raising=False)
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, sys\nprint('chatter')\n"
        f"print(json.dumps({{'options': sys.argv[1:], 'mode': os.environ.get({measuring.ONEDNN!r})}}))\n"
    )
    for onednn, mode in ((0, "0"), (1, "1"), (None, None)):
        assert measuring.in_child(str(child), ["--n", 3], onednn) == {"options": ["--n", "3"], "mode": mode}


def test_a_chosen_mode_is_the_only_one_and_both_begin_with_the_default(monkeypatch):
    parser = argparse.ArgumentParser()
    measuring.add_onednn_option(parser)
    for default in (0, 1):
        monkeypatch.setattr(measuring, "default_onednn", lambda default=default: default)
        assert measuring.onednn_modes(parser.parse_args([]).onednn) == [default, 1 - default]
        assert measuring.onednn_modes(parser.parse_args(["--onednn", "0"]).onednn) == [0]


def test_the_peak_memory_of_a_child_is_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(measuring.os.path.dirname(measuring.__file__)))
    child = tmp_path / "child.py"
    child.write_text(
        "import measuring\nbefore = measuring.peak_bytes()\nblock = bytearray(b'1') * 50_000_000\ndel block\n"
        "print([before, measuring.peak_bytes()])\n"
    )
    large = bytearray(b"1") * 300_000_000
    before, after = measuring.in_child(str(child), [])
    assert before < 100_000_000 < len(large)  # Python takes some 20 MB
    assert after - before == pytest.approx(50_000_000, rel=0.1)  # whole pages, and what the parser freed is used again


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
