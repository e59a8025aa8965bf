"""Names reach terminals and logs as visible characters, however they are printed."""

import logging
import os
import re
import subprocess
import sys

import pytest

from scarlet_tf import cli
from scarlet_tf.base import logs, progress
from scarlet_tf.base.errors import visible
from scarlet_tf.cli.output import print_figures, say
from scarlet_tf.cli.run import print_files

NAME = "a\x1b[31m\x07\r\x9b1m\u202e[bold]é→🙂"
SHOWN = r"a\x1b[31m\x07\r\x9b1m\u202e[bold]é→🙂"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


def test_what_acts_on_a_terminal_is_an_escape_and_all_else_stays():
    assert visible(NAME) == SHOWN
    assert visible("a\udcffb\u2028\u2066\x00\x7f") == r"a\udcffb\u2028\u2066\x00\x7f"
    plain = "tab\t line\n é ü ß → 漢 🙂 👩‍👩‍👧 \\x1b [bold] \u00a0"
    assert visible(plain) == plain


def test_log_lines_tracebacks_and_the_log_file(tmp_path, capsys):
    logs.log_to_terminal()
    with pytest.raises(RuntimeError), logs.log_to_file(tmp_path / "run.log"):
        logging.getLogger("scarlet_tf").info("class %s", NAME)
        raise RuntimeError(NAME)
    for text in (capsys.readouterr().err, (tmp_path / "run.log").read_text(encoding="utf-8")):
        assert f"class {SHOWN}" in text and not RAW.search(text)
    assert f"RuntimeError: {SHOWN}" in text


def test_tables_show_titles_cells_and_lines_without_markup(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    print_figures(NAME, {NAME: NAME})
    row = {"file": NAME, "bytes": 1, "max_logit_difference": None, "top1": None}
    print_files([row])
    say(NAME)
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 5 and not RAW.search(out)


def test_a_bar_shows_its_name(monkeypatch):
    class Terminal:
        encoding, written = "utf-8", ""

        def write(self, text):
            self.written += text

        def flush(self):
            pass

        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    logs.log_to_terminal()
    with progress.progress_bar(f"checking {NAME}", 2) as bar:
        bar.advance()
        logging.getLogger("scarlet_tf").info("a line about %s", NAME)
    written = sys.stderr.written
    assert f"checking {SHOWN}" in written and f"a line about {SHOWN}" in written
    assert (
        "\x1b[31m\x07" not in written and "\x9b" not in written and "\u202e" not in written
    )  # rich has colours of its own


@pytest.mark.parametrize("content", ["blocks: [ds_r1_k3_s1_c16]\n", "{NAME: 1}", "[", "- 3", '"a\\e[31m": 1\n'])
def test_a_command_shows_a_file_by_a_nasty_name(content, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{NAME}.yaml").write_text(content, encoding="utf-8")
    code = cli.main(["cost", f"{NAME}.yaml"])
    captured = capsys.readouterr()
    assert code == (0 if content.startswith("blocks") else 2)
    assert f"{SHOWN}.yaml" in captured.out + captured.err
    assert not RAW.search(captured.out + captured.err)


def test_wrong_usage_shows_what_was_typed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["cost", "scarlet_a", f"--{NAME}"])
    err = capsys.readouterr().err
    assert SHOWN in err and not RAW.search(err)


COMMANDS = """
import ast, sys
from scarlet_tf import cli
for command in ast.literal_eval(sys.argv[1]):
    try:
        print(cli.main(command))
    except SystemExit as end:
        print(end.code)
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_command_fails_for_characters_that_a_terminal_lacks(encoding, tmp_path):
    name = f"{NAME}\udcff"  # the end: a byte that is not UTF-8, in a file's name
    (tmp_path / f"{name}.yaml").write_text("blocks: [ds_r1_k3_s1_c16]\n")
    commands = [["zoo"], ["cost", f"{name}.yaml"], ["cost", f"{name}x.yaml"], ["cost", "scarlet_a", f"--{name}"]]
    environment = {"PYTHONIOENCODING": f"{encoding}:strict", "SCARLET_ZOO_DIR": os.fspath(tmp_path / name / "zoo")}
    command = [sys.executable, "-c", COMMANDS, ascii(commands)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, timeout=120)
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert [line for line in out.splitlines() if line.isdecimal()] == ["0", "0", "2", "2"], err
    shown = visible(name).encode(encoding, "backslashreplace").decode(encoding)
    assert (
        out.count(shown) == 2 and err.count(shown) == 2
    )  # the folder of one's own networks, a file; a file, an option
    assert not RAW.search(out + err) and "Traceback" not in err
