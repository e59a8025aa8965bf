import errno
import logging
import subprocess
import sys

import pytest

from scarlet_tf.base import logs
from scarlet_tf.base.errors import InputError

logger = logging.getLogger("scarlet_tf")


def test_file_gets_lines_prints_and_framework_messages(tmp_path, capsys):
    logger.setLevel(logging.INFO)
    with logs.log_to_file(tmp_path / "runs" / "run.log"):
        logger.info("training begins")
        print("a library prints")
        assert not (tmp_path / "runs").exists()
        (tmp_path / "runs").mkdir()
        logging.getLogger("absl").error("a framework complains")
    logger.info("after the end")
    text = (tmp_path / "runs" / "run.log").read_text()
    for line in ("INFO scarlet_tf: training begins", "a library prints", "ERROR absl: a framework complains"):
        assert line in text
    assert "after the end" not in text
    assert capsys.readouterr().out == ""


def test_a_failure_before_there_is_a_folder_leaves_none(tmp_path):
    with pytest.raises(InputError), logs.log_to_file(tmp_path / "runs" / "run.log"):
        logger.warning("bad data")
        raise InputError("bad data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [(RuntimeError("broken"), True), (InputError("bad key"), False), (KeyboardInterrupt(), False)],
)
def test_failure_is_recorded_with_its_traceback_and_bad_input_without(tmp_path, error, has_traceback):
    with pytest.raises(type(error)), logs.log_to_file(tmp_path / "run.log"):
        raise error
    text = (tmp_path / "run.log").read_text()
    assert (str(error) or "KeyboardInterrupt") in text
    assert ("Traceback" in text) == has_traceback


def test_full_disk_under_the_log_neither_ends_the_run_nor_fills_the_terminal(tmp_path, capsys, monkeypatch):
    logger.setLevel(logging.INFO)
    with logs.log_to_file(tmp_path / "run.log"):
        [handler] = [h for h in logger.handlers if isinstance(h, logs.LogFileHandler)]

        def full(record):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(handler, "format", full)
        logger.info("lost")
    assert capsys.readouterr().err.count("Traceback") == 0


def test_terminal_lines_go_to_the_stderr_of_the_moment_once(capsys):
    logs.log_to_terminal()
    logs.log_to_terminal()
    logger.info("one line")
    assert capsys.readouterr().err == "one line\n"


def test_native_lines_are_kept_off_the_terminal_and_in_the_log(tmp_path):
    script = (
        "import os, sys\n"
        "from scarlet_tf.base import logs\n"
        "with logs.NativeLines() as native:\n"
        "    os.write(2, b'native before\\n')\n"
        f"    native.send_to({str(tmp_path / 'run.log')!r})\n"
        "    os.write(2, b'native after\\n')\n"
        "    print('python', file=sys.stderr)\n"
        "os.write(2, b'native at the end\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "python\nnative at the end\n"
    assert (tmp_path / "run.log").read_text() == "native before\nnative after\n"


def test_importing_the_library_leaves_logging_alone():
    script = (
        "import logging, os\n"
        "before = (list(logging.root.handlers), dict(os.environ))\n"
        "import scarlet_tf, scarlet_tf.space.search_space, scarlet_tf.space.cost, scarlet_tf.base.progress\n"
        "assert before == (list(logging.root.handlers), dict(os.environ))\n"
        "assert not logging.getLogger('scarlet_tf').handlers\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("closed", [[2], [1, 2], [0, 1, 2]])
def test_closed_streams_are_not_taken_by_files(tmp_path, closed):
    """Without standard streams, the first file opened would be number 0, 1 or 2 and get their output."""
    path = tmp_path / "state.bin"
    script = (
        "import os, sys\n"
        "from scarlet_tf.base import logs\n"
        "logs.open_closed_streams()\n"
        f"with open({str(path)!r}, 'wb') as file:\n"
        "    with logs.NativeLines():\n"
        "        os.write(1, b'native'), os.write(2, b'native'), print('python', file=sys.stderr)\n"
        "        file.write(b'state')\n"
    )
    shut = " ".join(f"{number}<&-" for number in closed)
    command = ["sh", "-c", f'exec "$0" -c "$1" {shut}', sys.executable, script]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert path.read_bytes() == b"state"
