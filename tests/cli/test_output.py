"""What is printed for people, whatever the names in it."""

import io

import pytest

from scarlet_tf.base.words import before_scaling
from scarlet_tf.cli.output import print_figures
from scarlet_tf.cli.run import print_summary
from scarlet_tf.space.scaling import Scaling

SUMMARY = {
    "name": "[/b] :smile:",
    "run_dir": "runs/[x]",
    "dataset": {"name": "photos [red]"},
    "supernet": {"evaluated": 0, "mean_accuracy": None, "best_accuracy": None},
    "front": {"size": 3, "picks": 2},
    "pick": {
        "space": "s1",
        "architecture": "0,6,3",
        "pick": "best",
        "one_shot_accuracy": 0.625,
        "passed_over": [],
        "multiply_adds": 1_234_567,
        "params": 5_000,
    },
    "budget_multiply_adds": 2e6,
    "bounds": ["multiply_adds < 2.00 M"],
    "retrained": {"test_accuracy": 0.9375, "test_examples": 30},
    "seconds": {"search": 3.0},
    "report": "runs/[x]/report.html",
    "files": [{"file": "m.tflite", "bytes": 2048, "max_logit_difference": None, "top1": 0.5}],
}


def test_summary_shows_figures_and_names_as_they_are(capsys):
    print_summary(SUMMARY)
    out = capsys.readouterr().out
    for text in ("[/b] :smile:: photos [red]", "runs/[x]", "1.23 M multiply-adds, 0.005 M params", "93.75 % on 30"):
        assert text in out
    assert "mean -, best - on validation images" in out
    assert "2.0 KiB" in out
    assert "open runs/[x]/report.html in a browser" in out
    assert "warning" not in out


def test_warnings_stand_in_the_closing_table(capsys):
    print_summary(SUMMARY | {"warnings": ["nothing is learned [so]", "it guesses"]})
    out = capsys.readouterr().out
    assert out.count("warning") == 2 and "nothing is learned [so]" in out and "it guesses" in out


def test_summary_says_which_input_sizes_were_tried(capsys):
    rows = [{"input_size": 48, "accuracy": 0.4}, {"input_size": 64, "accuracy": 0.6, "score": 0.45}]
    print_summary(SUMMARY | {"input_sizes": {"chosen": 64, "measured": rows}})
    found = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "input size 64 pixels; best score at 48: 0.400, at 64: 0.450" in found


def test_summary_says_which_network_was_picked_and_why(capsys):
    passed_over = SUMMARY["pick"] | {"pick": "small", "passed_over": [{}]}
    for picked, expected in (
        (SUMMARY["pick"], "best: the best network found within the bounds, 62.50 % one-shot"),
        (passed_over, "pick small of the search, 62.50 % one-shot; 1 network before it out of bounds once folded"),
    ):
        print_summary(SUMMARY | {"pick": picked})
        assert expected in " ".join(capsys.readouterr().out.replace("│", " ").split())  # the table wraps it


def test_summary_shows_what_a_scaled_network_cost_before(capsys):
    scaling = {"scaling": {"se_ratio": 0.0625, "width_multiplier": 1.4}}
    scaling |= {"searched_multiply_adds": 600_000, "searched_params": 3_000}
    print_summary(SUMMARY | {"pick": SUMMARY["pick"] | scaling})
    out = capsys.readouterr().out
    assert "before scaling" in out and "0.600 M multiply-adds, 0.003 M params" in out
    said = before_scaling(Scaling(1.4, 0.0625), 600_000, 3_000)
    assert said.endswith("0.003 M params; retrained with SE at 0.0625 and 1.4 x the width")


def test_figures_show_lists_by_their_length_and_markup_as_text(capsys):
    print_figures("train-supernet", {"steps": 3, "history": [1, 2], "path": "[/x]", "nothing": None})
    out = capsys.readouterr().out
    assert "2 entries" in out
    assert "[/x]" in out
    assert "nothing" not in out


def test_reader_that_went_away_is_left_to_the_caller(monkeypatch):
    """rich alone would end the process there, with exit code 1."""

    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Gone())
    with pytest.raises(BrokenPipeError):
        print_summary(SUMMARY)
