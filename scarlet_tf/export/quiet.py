"""Keeps the converters' chatter off the terminal: some of it comes from C++ and no logging setting reaches it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import IO

logger = logging.getLogger("scarlet_tf")
_LOUD = ("absl", "tensorflow", "keras")
_DESCRIPTORS = (1, 2)
_TAIL_BYTES = 4000


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back everything that this process writes to stdout and stderr until the block ends.

    That includes what other threads write meanwhile. The last lines go to the debug log, which --verbose shows.
    """
    printed = io.StringIO()
    with tempfile.TemporaryFile() as held:
        try:
            with _held_back(held, printed):
                yield
        finally:
            held.seek(max(0, held.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = printed.getvalue()[-_TAIL_BYTES:] + held.read().decode(errors="replace")
            if text.strip():
                logger.debug("held back: %s", text.strip())


@contextlib.contextmanager
def _held_back(held: IO[bytes], printed: IO[str]) -> Iterator[None]:
    """Sends what native code writes to `held` and what Python prints to `printed`; warnings are dropped."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in _LOUD:
            stack.enter_context(_level(logging.getLogger(name), logging.CRITICAL))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(printed))
        for descriptor in _DESCRIPTORS:
            stack.enter_context(_descriptor_to(descriptor, held.fileno()))
        yield


@contextlib.contextmanager
def _level(target: logging.Logger, level: int) -> Iterator[None]:
    before = target.level
    target.setLevel(level)
    try:
        yield
    finally:
        target.setLevel(before)


@contextlib.contextmanager
def _descriptor_to(descriptor: int, other: int) -> Iterator[None]:
    """Makes `descriptor` write to `other` until the block ends; nothing where it is closed, as in a daemon."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    try:
        original = os.dup(descriptor)
    except OSError:
        yield
        return
    try:
        os.dup2(other, descriptor)
        yield
    finally:
        os.dup2(original, descriptor)
        os.close(original)
