"""Output of commands, and output that is kept off the terminal."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator

from scarlet_tf import logs, streams
from scarlet_tf.errors import InputError
from scarlet_tf.visible import visible


def say(text: str) -> None:
    """Print lines to stdout; characters that would act on a terminal are shown as escapes."""
    print(visible(text))


def show(arguments: argparse.Namespace, figures, show: Callable) -> None:
    """Print the figures. A reader that closes the pipe, as `head` does, has seen what it wanted: that is not a failure."""
    try:
        if arguments.json:
            print(json.dumps(figures, allow_nan=False))
        else:
            show(figures)
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # buffered output is written when Python ends, which would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise InputError(f"standard output: could not be written: {error.strerror or error}") from error


@contextlib.contextmanager
def native_lines(arguments: argparse.Namespace) -> Iterator[logs.NativeLines | None]:
    """Keep C++ code's lines off the terminal; with --verbose they stay there, and the value is None."""
    if arguments.loudness == "verbose":
        yield None
        return
    with logs.NativeLines() as native:
        yield native


@contextlib.contextmanager
def library_lines_held_back(arguments: argparse.Namespace) -> Iterator[None]:
    """Keep libraries' output off the terminal; with --verbose it goes to stderr, since stdout has the figures."""
    with native_lines(arguments) as native, streams.STDOUT.override(io.StringIO() if native else sys.stderr):
        yield
