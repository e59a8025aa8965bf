"""`scarlet --completion`: the script, and what bash makes of it."""

import shutil
import subprocess
import sys

import pytest

from scarlet_tf import cli

ASK = r"""
source "$1"
function ask() {
    COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
    "$(complete -p scarlet | sed 's/.*-F \([^ ]*\) .*/\1/')"
    echo "${COMPREPLY[@]}"
}
ask scarlet ret
ask scarlet zoo mob
ask scarlet cost my
ask scarlet run my
ask scarlet run my.yaml --run-dir my
ask scarlet -q latency b
ask scarlet search --com
"""


def script(shell):
    """Print the script for a shell, as the option does: it ends the program."""
    with pytest.raises(SystemExit) as end:
        cli.main(["--completion", shell])
    assert end.value.code == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_networks_and_files(tmp_path, capsys):
    script("bash")
    (tmp_path / "scarlet.bash").write_text(capsys.readouterr().out)
    (tmp_path / "my.yaml").touch()
    (tmp_path / "my_runs").mkdir()
    command = ["bash", "-c", ASK, "bash", "scarlet.bash"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    answers = [sorted(line.split()) for line in done.stdout.splitlines()]
    assert answers == [
        ["retrain"],
        ["mobilenet_v2"],
        ["my.yaml", "my_runs"],
        ["my.yaml", "my_runs"],
        ["my_runs"],
        ["build"],
        ["--compare"],
    ]


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_scripts(shell, capsys):
    script(shell)
    out = capsys.readouterr().out
    assert "train-supernet" in out and "--run-dir" in out


def test_completion_imports_no_tensorflow():
    script = (
        "import contextlib, sys, scarlet_tf.cli as cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--completion', 'bash'])\n"
        "assert not {'tensorflow', 'keras', 'pydantic'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_a_reader_that_wants_no_more_is_no_failure():
    command = f"{sys.executable} -m scarlet_tf --completion bash | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")
