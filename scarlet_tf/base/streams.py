"""Temporary redirection of the process's output streams.

Threads may redirect a stream at the same time: the latest redirection that still lasts is in force, and after the last one
the stream is restored. Output held back meanwhile reaches the terminal if the process dies.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import IO, Any

from scarlet_tf.base import last_words

logger = logging.getLogger("scarlet_tf")
_LOUD = ("absl", "tensorflow", "keras")
_TAIL_BYTES = 4000


class Setting:
    """A setting of the process that several threads may override at the same time.

    Args:
        read, write: get and set it.
        forget: takes the value that `read` returned, after that was set again.
    """

    def __init__(
        self,
        read: Callable[[], Any],
        write: Callable[[Any], None],
        forget: Callable[[Any], None] = lambda before: None,
    ):
        self._read, self._write, self._forget = read, write, forget
        self._lock = threading.RLock()
        self._overrides: list[list] = []  # of one value each, distinguished by identity
        self.before: Any = None  # while it is overridden: the original value

    @contextlib.contextmanager
    def override(self, value) -> Iterator[Callable[[Any], None]]:
        """Set the value until the block ends; the block gets a function that replaces the value."""
        override = [value]
        with self._lock:
            if not self._overrides:
                self.before = self._read()
            self._overrides.append(override)
            self._write(value)

        def replace(value) -> None:
            with self._lock:
                override[0] = value
                self._write(self._overrides[-1][0])

        try:
            yield replace
        finally:
            with self._lock:
                self._overrides = [other for other in self._overrides if other is not override]
                self._write(self._overrides[-1][0] if self._overrides else self.before)
                if not self._overrides:
                    self._forget(self.before)
                    self.before = None


def _descriptor(number: int) -> Setting:
    """Redirect a descriptor; do nothing if it is closed, as in a daemon."""

    def read() -> int | None:
        with contextlib.suppress(OSError):
            return os.dup(number)
        return None

    def write(other: int | None) -> None:
        if setting.before is not None and other is not None:
            os.dup2(other, number)

    def forget(copy: int | None) -> None:
        if copy is not None:
            os.close(copy)

    setting = Setting(read, write, forget)
    return setting


STDOUT = Setting(lambda: sys.stdout, lambda stream: setattr(sys, "stdout", stream))
STDERR = Setting(lambda: sys.stderr, lambda stream: setattr(sys, "stderr", stream))
NATIVE_STDOUT, NATIVE_STDERR = _descriptor(1), _descriptor(2)


class HeldText(io.TextIOBase):
    """Text stream into a binary file; discards text after that was closed, since loggers may keep their first stream."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def write(self, text: str) -> int:
        if not self._file.closed:
            self._file.write(text.encode(errors="backslashreplace"))
        return len(text)


@contextlib.contextmanager
def held_file() -> Iterator[IO[bytes]]:
    """An unbuffered temporary file, whose content the terminal gets if the process dies before the block ends."""
    descriptor, name = tempfile.mkstemp(prefix="scarlet_tf-")
    try:
        with open(descriptor, "w+b", buffering=0) as file:
            _watcher.hold(name, 0, temporary=True)
            yield file
    finally:
        _watcher.release(name)
        with contextlib.suppress(OSError):
            os.unlink(name)


@contextlib.contextmanager
def held_from_here(path) -> Iterator[None]:
    """Show additions to the file at `path` on the terminal if the process dies before the block ends."""
    name = os.path.abspath(path)
    _watcher.hold(name, pathlib.Path(name).stat().st_size)
    try:
        yield
    finally:
        _watcher.release(name)


class _Watcher:
    """A process that runs last_words.py, started when output is held back for the first time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._owner = 0

    def hold(self, path: str, start: int, temporary: bool = False) -> None:
        self._send(path, start, temporary)

    def release(self, path: str) -> None:
        self._send(path, None, False)

    def _send(self, *message) -> None:
        with self._lock, contextlib.suppress(OSError):  # without a watcher, held-back output is lost
            if self._owner != os.getpid():  # none yet, or the parent's, after a fork
                self._process, self._owner = None, os.getpid()
                self._start()
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _start(self) -> None:
        terminal = 2 if NATIVE_STDERR.before is None else NATIVE_STDERR.before
        command = [sys.executable, "-I", "-S", last_words.__file__]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
            bufsize=0,
            start_new_session=True,  # Ctrl-C and the terminal's closing do not reach it
        )
        atexit.register(self._end, self._process)

    def _end(self, process: subprocess.Popen) -> None:
        if self._owner == os.getpid() and process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)


_watcher = _Watcher()


# -- converters' chatter, some of which comes from C++, where no logging setting reaches it -----------------------


def _level_of(name: str) -> Setting:
    target = logging.getLogger(name)
    return Setting(lambda: target.level, target.setLevel)


class _IgnoredWarnings:
    """Drop warnings while any thread is in a block; Python's own block is the process's, too, but not safe in threads."""

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
    """Hold back everything that this process writes to stdout and stderr until the block ends.

    That includes what other threads write meanwhile. The last lines go to the debug log, which --verbose shows, and to the
    terminal if the process dies inside the block. Blocks of several threads may overlap.
    """
    with held_file() as held:
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(_WARNINGS)
                for level in _LEVELS:
                    stack.enter_context(level.override(logging.CRITICAL))
                _flush()
                for stream in (STDOUT, STDERR):
                    stack.enter_context(stream.override(HeldText(held)))
                for descriptor in (NATIVE_STDOUT, NATIVE_STDERR):
                    stack.enter_context(descriptor.override(held.fileno()))
                stack.callback(_flush)
                yield
        finally:
            held.seek(max(0, held.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = held.read().decode(errors="replace").strip()
            if text:
                logger.debug("held back: %s", text)


def _flush() -> None:
    """Write what Python's own streams still buffer to where the descriptors point now."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
