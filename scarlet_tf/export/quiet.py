"""Keeps the converters' chatter off the terminal: some of it comes from C++ and no logging setting reaches it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator

from scarlet_tf import streams

logger = logging.getLogger("scarlet_tf")
_LOUD = ("absl", "tensorflow", "keras")
_TAIL_BYTES = 4000


def _level_of(name: str) -> streams.Setting:
    target = logging.getLogger(name)
    return streams.Setting(lambda: target.level, target.setLevel)


class _IgnoredWarnings:
    """Drops warnings while any thread is in a block; Python's own block is the process's, too, but not safe in threads."""

    def __init__(self) -> None:
        self._lock, self._count, self._block = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._count:
                self._block.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._count += 1

    def __exit__(self, *_) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                self._block.close()


_LEVELS = [_level_of(name) for name in _LOUD]
_WARNINGS = _IgnoredWarnings()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back everything that this process writes to stdout and stderr until the block ends.

    That includes what other threads write meanwhile. The last lines go to the debug log, which --verbose shows, and to the
    terminal if the process dies inside the block. Blocks of several threads may overlap.
    """
    with streams.held_file() as held:
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(_WARNINGS)
                for level in _LEVELS:
                    stack.enter_context(level.override(logging.CRITICAL))
                _flush()
                for stream in (streams.STDOUT, streams.STDERR):
                    stack.enter_context(stream.override(streams.HeldText(held)))
                for descriptor in (streams.NATIVE_STDOUT, streams.NATIVE_STDERR):
                    stack.enter_context(descriptor.override(held.fileno()))
                stack.callback(_flush)
                yield
        finally:
            held.seek(max(0, held.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = held.read().decode(errors="replace").strip()
            if text:
                logger.debug("held back: %s", text)


def _flush() -> None:
    """Writes what Python's own streams still buffer to where the descriptors point now."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
