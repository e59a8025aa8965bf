"""Output of commands: results on stdout as JSON, lines or tables, and libraries' output kept off the terminal."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from scarlet_tf.base import logs, streams
from scarlet_tf.base.errors import InputError, visible
from scarlet_tf.base.words import flat


def say(*lines: str) -> None:
    """Print lines to stdout; characters that would act on a terminal are shown as escapes."""
    print(visible("\n".join(lines)))


def show(arguments: argparse.Namespace, figures, present: Callable[[Any], Iterable[str] | None]) -> None:
    """Print the figures as JSON, or the lines that `present` returns of them unless it prints them itself."""
    with printing():
        if arguments.json:
            print(json.dumps(figures, allow_nan=False))
        elif (lines := present(figures)) is not None:
            say(*lines)


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Write what is printed inside at its end; InputError where it cannot be.

    A reader that closes the pipe, as `head` does, has seen what it wanted: that is not a failure.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # buffered output is written when Python ends, which would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise InputError(f"standard output: could not be written: {error.strerror or error}") from error


def print_table(
    rows: Iterable[Sequence[str]], headings: Sequence[str] = (), title: str = "", unbroken_names: bool = False
) -> None:
    """Print a table of literal text: names may hold brackets or colons. Columns after the first are aligned right.

    unbroken_names: never fold the first column, however narrow the terminal is.
    """
    from rich.console import Console
    from rich.table import Table

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise  # the error that rich is handling; rich would end the process

    table = Table(title=visible(title) or None, show_header=bool(headings), title_justify="left")
    for number, heading in enumerate(headings):
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(visible(heading), justify=justify, overflow="fold", no_wrap=unbroken_names and not number)
    for row in rows:
        table.add_row(*map(visible, row))
    PlainConsole(soft_wrap=True, markup=False, emoji=False).print(table)


def print_figures(title: str, figures: Mapping[str, Any]) -> None:
    """Print the single values of a stage's result; longer ones are in the run folder."""
    print_table(flat(figures), title=title)


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
