"""--quiet, --verbose, suggestions in usage errors, and messages that name the next command."""

import logging
import pathlib

import pytest

from scarlet_tf import cli
from scarlet_tf.base import logs, progress
from scarlet_tf.cli import make_parser

logger = logging.getLogger("scarlet_tf")


@pytest.mark.parametrize(
    ("arguments", "loudness"),
    [
        (["run", "x"], "normal"),
        (["--quiet", "run", "x"], "quiet"),
        (["run", "x", "-q"], "quiet"),
        (["run", "x", "--verbose"], "verbose"),
        (["--quiet", "run", "x", "-v"], "verbose"),
        (["latency", "build", "--out", "x", "-q"], "quiet"),
    ],
)
def test_loudness_is_accepted_before_and_after_the_command(arguments, loudness):
    assert make_parser().parse_args(arguments).loudness == loudness


@pytest.mark.parametrize(
    ("loudness", "shown"),
    [("quiet", ["a warning"]), ("normal", ["a line", "a warning"]), ("verbose", ["a detail", "a line", "a warning"])],
)
def test_the_terminal_gets_what_was_asked_for_and_the_log_all_lines(loudness, shown, capsys, tmp_path):
    logs.log_to_terminal("verbose")  # an earlier command's wish does not stay
    logs.log_to_terminal(loudness)
    with logs.log_to_file(tmp_path / "run.log"):
        logger.debug("a detail")
        logger.info("a line")
        logger.warning("a warning")
    assert capsys.readouterr().err.splitlines() == shown
    assert all(line in (tmp_path / "run.log").read_text() for line in ("a detail", "a line", "a warning"))


def test_a_quiet_command_shows_no_bars(monkeypatch):
    shown = []
    monkeypatch.setattr(progress, "show_bars", shown.append)
    cli.main(["cost", "scarlet_a", "--quiet"])
    cli.main(["cost", "scarlet_a"])
    assert shown == [False, True]


def test_bars_that_are_not_wanted_are_lines(monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    progress.show_bars(False)
    try:
        with progress.progress_bar("training", 2) as bar:
            assert type(bar) is progress.Bar
    finally:
        progress.show_bars(True)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["retrian", "x"], "did you mean retrain?; see: scarlet --help"),
        (["run", "x", "--max-hour"], "see: scarlet run --help"),
        (["run", "x", "--ste", "a=1"], "did you mean --set?; see: scarlet run --help"),
        (["latency", "biuld"], "did you mean build?; see: scarlet latency --help"),
        ([], "see: scarlet --help"),
    ],
)
def test_wrong_usage_is_one_line_with_the_way_on(arguments, hint, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.endswith(hint + "\n") and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (
            ["run", "digit.yaml"],
            "did you mean digits.yaml?; to write one: scarlet init DATASET --budget 60M --out digit.yaml",
        ),
        (["run", "runs/my"], "the run's configuration is runs/my/config.yaml"),
        (["cost", "scarlett_a"], "did you mean scarlet_a?"),
        (["zoo", "mobilenet_v3"], "did you mean mobilenet_v2?"),
        (["cost", "0,1", "--space", "s22"], "did you mean s2?; one of your own is the path of a .yaml file"),
        (["latency", "predict", "scarlet_a", "--table", "no.json"], "scarlet latency build --out no.json"),
        (["verify", "runs/none"], "runs/NAME of `scarlet run` has them in export/"),
        (["zoo", "mine", "--add", "runs/none"], "which `scarlet run CONFIG` makes"),
    ],
)
def test_errors_name_the_next_step(arguments, hint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("digits.yaml").touch()
    pathlib.Path("runs/my").mkdir(parents=True)
    pathlib.Path("runs/my/config.yaml").touch()
    assert cli.main(arguments) == 2
    assert hint in capsys.readouterr().err
