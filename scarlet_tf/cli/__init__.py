"""The `scarlet` command: parses, calls the library, prints. Each command is one file, or one function of a file.

Exit codes: 0 success, 1 failure (the traceback is in run.log), 2 bad input, 130 interrupted.
NumPy, rich and TensorFlow are imported inside the functions that need them: `scarlet --help` does without.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib.metadata
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Literal

from scarlet_tf.base import host, logs
from scarlet_tf.base.errors import ChecksFailedError, InputError, visible
from scarlet_tf.cli import cost, doctor, finetune, init, latency, run, stages, verify, zoo
from scarlet_tf.cli.parsing import SHELLS, Parser, PrintCompletion, add_loudness

OUT_OF_MEMORY = (
    "end other programs, or use less: a smaller batch_size of the section at work, data.memory_bytes or"
    " search.evaluation_memory_mib; `scarlet doctor` says how much there is"
)


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command; each command's --help ends with an example, and `run` is the function that runs it."""
    parser = Parser(
        prog="scarlet",
        description="From a dataset and a budget to the best compact vision network for a phone.",
        epilog="example: scarlet run configs/digits.yaml",
    )
    version = importlib.metadata.version("scarlet_tf")
    parser.add_argument("--version", action="version", version=f"scarlet {version}")
    parser.add_argument(
        "--completion",
        action=PrintCompletion,
        choices=SHELLS,
        help="print a script that completes commands, options and files in a shell",
    )
    parser.set_defaults(log=None, loudness="normal")
    add_loudness(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (doctor, init, run, stages, finetune, cost, zoo, verify, latency):
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    logs.open_closed_streams()
    logs.escape_what_streams_lack()
    if not faulthandler.is_enabled():
        faulthandler.enable(2, all_threads=False)
    arguments = make_parser().parse_args(argv)
    _set_loudness(arguments.loudness)
    try:
        host.set_faster()
        arguments.run(arguments)
        return 0
    except InputError as error:
        _complain(f"error: {error}")
        return 2
    except ChecksFailedError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        resume = f"; the same command resumes: {shlex.join(['scarlet', *argv])}" if arguments.log else ""
        _complain(f"interrupted{resume}")
        return 130
    except Exception as error:
        if _is_out_of_memory(error):
            _complain(f"out of memory: {_first_line(error)}; {OUT_OF_MEMORY}")
            return 1
        reason = _first_line(error)
        if arguments.log and arguments.log.exists():
            _complain(f"failed: {reason}; the traceback is in {arguments.log}")
        else:
            _print(traceback.format_exc())
        return 1


def _is_out_of_memory(error: BaseException | None) -> bool:
    """True if `error` means that Python, NumPy, TensorFlow or C++ code below them got no memory."""
    while error is not None:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or any(
            sign in text for sign in ("ResourceExhaustedError", "MemoryError:", "std::bad_alloc")
        ):
            return True
        error = error.__cause__
    return False


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _set_loudness(loudness: Literal["quiet", "normal", "verbose"]) -> None:
    """Set the terminal's output besides results and errors; before TensorFlow is imported."""
    if loudness != "verbose":
        logs.quiet_frameworks()
    logs.log_to_terminal(loudness)
    from scarlet_tf.base import progress

    progress.show_bars(loudness != "quiet")


def _complain(text: str) -> None:
    _print(f"scarlet: {text}\n")


def _print(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone; the exit code remains
        print(visible(text), end="", file=sys.stderr, flush=True)
