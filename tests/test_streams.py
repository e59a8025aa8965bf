"""Captured output: of several threads at a time, and of a process that dies."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest

from scarlet_tf.base import last_words, logs, streams
from scarlet_tf.base.streams import quiet

TERMINATE = "import ctypes; ctypes.CDLL('libstdc++.so.6')._ZSt9terminatev()"  # as an uncaught C++ exception does


def run(script, *arguments, **options):
    """A process that runs the script; its temporary files are to be those of `TMPDIR`."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, **options
    )


def in_order(first_block, second_block):
    """Two threads' blocks: the first begins and ends before the second, which begins inside it."""
    began, ended = threading.Event(), threading.Event()

    def second():
        with second_block():
            began.set()
            assert ended.wait(60)

    thread = threading.Thread(target=second)
    with first_block():
        thread.start()
        assert began.wait(60)
    ended.set()
    thread.join()


def test_quiet_holds_back_and_restores_also_after_errors(capfd):
    with pytest.raises(KeyError), quiet():
        os.write(1, b"native")
        print("python")
        raise KeyError
    print("after")
    os.write(2, b"native")
    assert capfd.readouterr() == ("after\n", "native")


@pytest.mark.parametrize("first", [quiet, logs.NativeLines])
@pytest.mark.parametrize("second", [quiet, logs.NativeLines])
def test_overlapping_captures_of_threads_give_the_streams_back(first, second, capfd):
    levels = {name: logging.getLogger(name).level for name in ("absl", "tensorflow", "keras")}
    before = (sys.stdout, sys.stderr, list(warnings.filters))
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    in_order(first, second)
    assert (sys.stdout, sys.stderr, list(warnings.filters)) == before
    assert levels == {name: logging.getLogger(name).level for name in levels}
    os.write(1, b"native out")
    os.write(2, b"native err")
    print(" and python")
    assert capfd.readouterr() == ("native out and python\n", "native err")
    # The pipe to the watching process stays.
    assert descriptors is None or len(os.listdir("/proc/self/fd")) <= descriptors + 1


def test_a_capture_lasts_as_long_as_its_own_block(capfd):
    def still_held_back():
        with contextlib.ExitStack() as stack:
            stack.callback(os.write, 1, b"after the block that began first")
            stack.enter_context(quiet())
            yield

    in_order(contextlib.contextmanager(still_held_back), quiet)
    with quiet(), quiet():
        os.write(1, b"inside")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("death", ["os.abort()", "os.kill(os.getpid(), 9)", TERMINATE])
@pytest.mark.parametrize("block", ["streams.quiet()", "logs.NativeLines()"])
def test_what_was_held_back_reaches_the_terminal_when_the_process_dies(block, death, tmp_path):
    script = (
        "import os\nfrom scarlet_tf.base import logs\nfrom scarlet_tf.base import streams\n"
        f"with {block}:\n    os.write(2, b'the reason\\x1b[2J\\n')\n    {death}\n"
    )
    done = run(script, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode in (-signal.SIGABRT, -signal.SIGKILL)
    assert f"scarlet: {last_words.ENDED}; its last lines:\n  the reason\\x1b[2J\n" in done.stderr
    assert ("terminate called" in done.stderr) == (death == TERMINATE)
    assert not list(tmp_path.iterdir())


def test_lines_that_a_log_got_since_the_start_reach_the_terminal_too(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("of an earlier command\n")
    script = (
        "import os, sys\nfrom scarlet_tf.base import logs\n"
        "with logs.NativeLines() as native:\n    os.write(2, b'held\\n')\n    native.send_to(sys.argv[1])\n"
        "    os.write(2, b'in the log\\n')\n    os.abort()\n"
    )
    done = run(script, str(log))
    assert log.read_text() == "of an earlier command\nheld\nin the log\n"
    assert done.stderr == f"scarlet: {last_words.ENDED}; its last lines:\n  held\n  in the log\n"


@pytest.mark.parametrize("end", ["pass", "raise KeyError", "os._exit(3)"])
def test_an_end_with_a_word_of_its_own_gets_none_added(end, tmp_path):
    script = f"import os\nfrom scarlet_tf.base import logs\nwith logs.NativeLines():\n    os.write(2, b'chatter\\n')\n    {end}\n"
    done = run(script, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert (last_words.ENDED in done.stderr) == (end == "os._exit(3)")
    assert not list(tmp_path.iterdir())


def test_a_command_without_a_log_that_is_stopped_by_native_code_says_where():
    """A segmentation fault writes nothing by itself."""
    script = (
        "import sys\nfrom scarlet_tf import cli\nfrom scarlet_tf.cli.output import library_lines_held_back\n"
        "def crash(arguments):\n    import ctypes\n    with library_lines_held_back(arguments):\n        ctypes.string_at(0)\n"
        "cli.cost.cost = crash\ncli.main(['cost', 'x'])\n"
    )
    done = run(script)
    assert done.returncode == -signal.SIGSEGV
    assert last_words.ENDED in done.stderr and "Segmentation fault" in done.stderr and "in crash" in done.stderr


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("import numpy; numpy.ones(1 << 33)", "Unable to allocate 64"),
        ("x = 'x' * (1 << 36)", "MemoryError"),
        ("raise RuntimeError('std::bad_alloc')", "RuntimeError: std::bad_alloc"),
        ("raise ValueError('of what follows') from MemoryError()", "ValueError: of what follows"),
    ],
)
def test_memory_that_runs_out_is_one_line_with_a_remedy(failure, said):
    resource = pytest.importorskip("resource")
    script = (
        "import resource, sys\nfrom scarlet_tf import cli\n"
        f"def fail(arguments):\n    {failure}\n"
        "cli.cost.cost = fail\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({2**34}, {2**34}))\n"
        "sys.exit(cli.main(['cost', 'x']))\n"
    )
    assert resource is not None
    done = run(script)
    assert done.returncode == 1
    assert done.stderr.startswith("scarlet: out of memory: ") and said in done.stderr and "batch_size" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_watching_process_follows_what_is_held(tmp_path):
    """Files that were released are not shown; of the others the last lines are, and temporary ones are removed."""
    kept, held = tmp_path / "kept", tmp_path / "held"
    kept.write_text("released")
    held.write_text("".join(f"line {i}\n" for i in range(100)))
    messages = f'["{kept}", 0, true]\n["{held}", 0, true]\n["{kept}", null, false]\n'
    command = [sys.executable, "-I", "-S", last_words.__file__]
    done = subprocess.run(command, input=messages, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[1:] == [f"  line {i}" for i in range(100 - last_words.TAIL_LINES, 100)]
    assert kept.exists() and not held.exists()


def test_a_setting_is_what_it_was_whichever_override_ends_first():
    held = {"value": "own"}
    setting = streams.Setting(lambda: held["value"], lambda value: held.update(value=value))
    first, second = setting.override("first"), setting.override("second")
    first.__enter__()
    second.__enter__()
    assert held["value"] == "second"
    first.__exit__(None, None, None)
    assert held["value"] == "second"
    second.__exit__(None, None, None)
    assert (held["value"], setting.before) == ("own", None)
