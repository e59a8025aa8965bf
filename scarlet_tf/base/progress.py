"""Progress with time left: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import IO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scarlet_tf.base.errors import visible
from scarlet_tf.base.words import duration

logger = logging.getLogger("scarlet_tf")
SECONDS_BETWEEN_LINES = float(os.environ.get("SCARLET_PROGRESS_SECONDS", 15))


class Bar:
    """Counter of finished units of one task; `advance` may carry figures to show, such as loss=1.2."""

    def __init__(self, name: str, total: int, done: int = 0, transient: bool = False):
        self.name, self.total, self.done, self.transient = name, total, done, transient
        self._first: int | None = None
        self._started = self._last_line = time.monotonic()

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count `amount` more finished units."""
        if self._first is None:  # the first unit traces graphs: the others show the speed
            self._first, self._started = self.done + amount, time.monotonic()
        self.done += amount
        self._show(" ".join(f"{key} {value:.4g}" for key, value in figures.items()))

    def seconds_left(self) -> float | None:
        """Time left at the mean speed since this process' first unit; None before its second."""
        if self._first is None or self.done == self._first:
            return None
        fresh = self.done - self._first
        return (time.monotonic() - self._started) / fresh * (self.total - self.done)

    def _show(self, text: str) -> None:
        now = time.monotonic()
        finished = self.done >= self.total and not self.transient
        if now - self._last_line < SECONDS_BETWEEN_LINES and not finished:
            return
        self._last_line = now
        left = self.seconds_left()
        tail = f", {duration(round(left))} left" if left else ""
        logger.info("%s %d/%d%s%s", self.name, self.done, self.total, text and f" {text}", tail)


class _TerminalBar(Bar):
    def __init__(self, name, total, done, live: Progress):
        super().__init__(name, total, done)
        self._live = live
        self._task = live.add_task(visible(name), total=total, completed=done, figures="")

    def remove(self) -> None:
        self._live.remove_task(self._task)

    def _show(self, text: str) -> None:
        self._live.update(self._task, completed=self.done, figures=text)


class _Screen:
    """A terminal that may be closed while a run continues."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


_shown: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("_shown", default=None)
_bars_wanted = True


def show_bars(wanted: bool) -> None:
    """Set whether a terminal gets bars from now on; without them there are lines, which the log's levels may silence."""
    global _bars_wanted
    _bars_wanted = wanted


@contextlib.contextmanager
def progress_bar(name: str, total: int, done: int = 0, transient: bool = False) -> Iterator[Bar]:
    """Show the progress of `total` units of which `done` were finished before (a resumed run).

    Inside another bar it appears below that one. `transient`: it disappears at the end.
    """
    if not (_bars_wanted and sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)):
        yield Bar(name, total, done, transient)
        return
    with _screen(transient) as live:
        bar = _TerminalBar(name, total, done, live)
        try:
            yield bar
        finally:
            if transient:
                bar.remove()


@contextlib.contextmanager
def _screen(transient: bool) -> Iterator[Progress]:
    """The screen that is shown on the terminal, or a new one."""
    shown = _shown.get()
    if shown is not None:
        yield shown
        return
    # Without markup: the name may be that of a folder with brackets.
    name_column, figures = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[figures]}"))
    columns = (name_column, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), figures)
    console = Console(file=cast(IO[str], _Screen(sys.stderr)), markup=False, emoji=False)
    with Progress(*columns, console=console, transient=transient) as live:
        token = _shown.set(live)
        try:
            yield live
        finally:
            _shown.reset(token)
