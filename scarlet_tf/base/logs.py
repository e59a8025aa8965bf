"""Logging of the command line: short lines on stderr, everything in run.log, TensorFlow quiet.

Only the command line and the tests call this; importing the library changes no global logging.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import IO, Literal

from scarlet_tf.base import streams
from scarlet_tf.base.errors import InputError, visible

logger = logging.getLogger("scarlet_tf")
_QUIET_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "GRPC_VERBOSITY": "ERROR"}
_FRAMEWORKS = ("absl", "tensorflow", "keras", "keras_tuner", "matplotlib", "h5py")


class StderrHandler(logging.Handler):
    """Handler that writes to the current sys.stderr, so that lines and a live progress bar do not collide."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # a closed terminal must not end a run of hours
            print(self.format(record), file=sys.stderr, flush=True)


class VisibleFormatter(logging.Formatter):
    """Formatter that escapes characters that act on a terminal, which names in a line or a traceback may contain."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class LogFileHandler(logging.StreamHandler):
    """Log file that tolerates a full disk: lines are lost, but the run continues and the terminal stays quiet."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing: the state of a run is in other files, whose writers report errors."""


class _LateFile(io.TextIOBase):
    """A text file that appends once its folder exists, and buffers until then."""

    def __init__(self, path: pathlib.Path, when_open: Callable[[], None]):
        self._path, self._when_open = path, when_open
        self._held = io.StringIO()
        self._file: IO[str] | None = None
        self._open_if_possible()

    def _open_if_possible(self) -> None:
        if self._file is None and self._path.parent.is_dir():
            self._file = open(self._path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115 - closed in `close`
            self._file.write(self._held.getvalue())
            self._when_open()

    def write(self, text: str) -> int:
        self._open_if_possible()
        return (self._file or self._held).write(text)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        self._open_if_possible()
        if self._file is not None:
            self._file.close()


def open_closed_streams() -> None:
    """Open closed standard streams, such as a daemon's, on the null device.

    Their numbers would otherwise go to the next files opened, such as a checkpoint, which would then receive what
    C++ code writes to its stderr.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - stays open


def escape_what_streams_lack() -> None:
    r"""Make stdout and stderr write characters that their encoding lacks as escapes, such as \u2192, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def quiet_frameworks() -> None:
    """Silence frameworks by environment variables; call before TensorFlow is imported. The user's own values are kept."""
    for name, value in _QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in _FRAMEWORKS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for category in (DeprecationWarning, FutureWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(?!scarlet_tf)")


def log_to_terminal(loudness: Literal["quiet", "normal", "verbose"] = "normal") -> None:
    """Send the package's lines to stderr, once, and nowhere else: warnings alone, all, or debug lines, too.

    A log file gets all lines, debug lines included, whatever the terminal gets.
    """
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    handler = next((found for found in logger.handlers if isinstance(found, StderrHandler)), None)
    if handler is None:
        handler = StderrHandler()
        handler.setFormatter(VisibleFormatter("%(message)s"))
        logger.addHandler(handler)
    levels = {"quiet": logging.WARNING, "normal": logging.INFO, "verbose": logging.DEBUG}
    handler.setLevel(levels[loudness])


@contextlib.contextmanager
def log_to_file(path, when_open: Callable[[], None] = lambda: None, first: str = "") -> Iterator[None]:
    """Append to `path`, until the block ends: log lines, libraries' output, and the traceback of a failure.

    Lines are held until the block has made the file's folder: a block that fails before leaves nothing.
    `first`: a line for the file alone.
    """
    path = pathlib.Path(path)
    try:
        _check_place(path)
        file = _LateFile(path, when_open)
    except OSError as error:
        raise InputError(f"{path}: could not be opened for the log: {error.strerror}") from error
    handler = LogFileHandler(file)
    handler.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if first:
        handler.handle(logging.LogRecord(logger.name, logging.INFO, __file__, 0, first, (), None))
    targets = [logger, *(logging.getLogger(name) for name in _FRAMEWORKS)]
    for target in targets:
        target.addHandler(handler)
    try:
        with streams.STDOUT.override(file):
            yield
    except BaseException as error:
        handler.handle(_record(error))
        raise
    finally:
        for target in targets:
            target.removeHandler(handler)
        handler.close()
        with contextlib.suppress(OSError):
            file.close()


def _check_place(path: pathlib.Path) -> None:
    """Raise OSError if the folders that `path` still lacks cannot be made."""
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _record(error: BaseException) -> logging.LogRecord:
    text = str(error) or type(error).__name__
    expected = isinstance(error, (InputError, KeyboardInterrupt))
    traceback = None if expected else (type(error), error, error.__traceback__)
    return logging.LogRecord(logger.name, logging.ERROR, __file__, 0, text, (), traceback)


class NativeLines:
    """Redirection of C++ code's output to the process's stderr away from the terminal; Python's sys.stderr still reaches it.

    TensorFlow writes some lines before it reads TF_CPP_MIN_LOG_LEVEL, so no variable silences them. They are held in a
    temporary file until `send_to` names a log for them; with a log, nothing is lost. If the process dies, the
    terminal gets the last lines.
    """

    _log: IO[bytes] | None = None

    def __enter__(self) -> NativeLines:
        with contextlib.ExitStack() as stack:
            self._held = stack.enter_context(streams.held_file())
            replaces = _writes_to(sys.stderr, 2)
            if replaces:
                sys.stderr.flush()
            self._replace = stack.enter_context(streams.NATIVE_STDERR.override(self._held.fileno()))
            terminal = streams.NATIVE_STDERR.before
            if replaces and terminal is not None:
                encoding = sys.stderr.encoding
                own = open(os.dup(terminal), "w", buffering=1, encoding=encoding, errors="backslashreplace")
                stack.callback(_close, own)
                stack.enter_context(streams.STDERR.override(own))
            self._stack = stack.pop_all()
        return self

    def send_to(self, path) -> None:
        """Append the lines so far, and from now on every line, to `path`."""
        with contextlib.suppress(OSError):
            self._log = open(path, "ab", buffering=0)  # noqa: SIM115 - closed in __exit__
            self._stack.enter_context(streams.held_from_here(path))
            self._held.seek(0)
            self._log.write(self._held.read())
            self._held.truncate(0)
            self._replace(self._log.fileno())

    def __exit__(self, *_) -> None:
        self._stack.close()
        if self._log is not None:
            self._log.close()


def _close(stream: IO[str]) -> None:
    with contextlib.suppress(OSError):  # the terminal may be closed
        stream.close()


def _writes_to(stream, descriptor: int) -> bool:
    try:
        return stream.fileno() == descriptor
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return False
