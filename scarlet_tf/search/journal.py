"""Journal: a file of JSON lines, appended to as evaluations end, from which a search is repeated; and a table of evaluations.

Each line ends with a CRC of itself, so that a change is noticed. Lines cannot be made again; a damaged one is refused, but
for the last one, which a crash may have cut short.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import pathlib
import re
import threading
import time
import weakref
import zlib
from collections.abc import ItemsView, Iterator, Mapping, Sequence

from scarlet_tf.base import files
from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.objectives import checked_accuracy

logger = logging.getLogger("scarlet_tf")
VERSION = 2
EVALUATION_KEY = "evaluation"  # entry of a fingerprint, for EVALUATION
EVALUATION = 2
"""The number of what the package's Evaluator answers: journals keep it, so that figures of two meanings are not mixed.

1: BN is recalibrated by a moving average, which forgets earlier batches. 2: by the mean of all batches.
"""
TRIALS = "trials.jsonl"
_CRC = re.compile(rb'(.*),"crc":"([0-9a-f]{8})"}')
# A line is handed to the system at once, so a killed process loses none. Only a power cut can lose lines, and no
# more than those of this many seconds.
SECONDS_BETWEEN_SYNCS = 1.0
_CLOSED = -1  # no descriptor
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would write "\r\n" otherwise


class _Lock:
    """A locked file, which is closed with the last journal that holds it."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self.is_searching = False

    def __del__(self, close=os.close):  # bound here: the module may be gone when the interpreter ends
        close(self._descriptor)


# This process' locks by device and inode: the journals of one process share theirs, as where a notebook makes its tuner
# again while the old one still exists.
_GUARD = threading.Lock()
_LOCKS: weakref.WeakValueDictionary[tuple[int, int], _Lock] = weakref.WeakValueDictionary()


class Journal:
    """The file `path` of one search.

    Its first line holds `fingerprint`, plain JSON that names the search: a file of another search is refused with an
    InputError that names the file and the first difference.
    """

    def __init__(self, path, fingerprint: Mapping):
        self.path = pathlib.Path(path)
        try:
            # As JSON reads it back, so that a tuple equals the list that it is written as.
            self._fingerprint = json.loads(json.dumps(fingerprint, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.path}: expected a fingerprint of plain JSON types: {error}") from error
        self._handle = _CLOSED
        self._lock: _Lock | None = None
        self._size: int | None = None  # of the file as this journal has read and written it
        self._synced = 0.0

    def open(self) -> list[dict]:
        """Open the file for writing, made where there is none; return all records."""
        with _GUARD:  # another thread may open the same file
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = self._locked()
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o644)
            except OSError as error:
                self.close()
                raise InputError(f"{self.path}: could not be opened: {error.strerror or error}") from error
            try:
                records = self._records(self._whole_lines())
                self._size = os.fstat(self._handle).st_size
                return records
            except BaseException:
                self.close()
                raise

    def append(self, record: Mapping) -> None:
        """Add one line, whole or not at all.

        Raises InputError that names the file when it cannot be written, for example on a full disk; what was
        written before is kept.
        """
        line = format_line(record)
        size = os.fstat(self._handle).st_size
        if self._size not in (None, size):
            raise InputError(
                f"{self.path}: another search of this process has written to it since this one read it; go on with"
                " that one, or begin again from what is there"
            )
        try:
            written = 0
            while written < len(line):
                written += os.write(self._handle, line[written:])
            if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
                os.fsync(self._handle)
                self._synced = time.monotonic()
        except OSError as error:
            os.ftruncate(self._handle, size)
            raise InputError(
                f"{self.path}: could not be written: {error.strerror or error}; all earlier trials are kept"
            ) from error
        self._size = size + len(line)

    @contextlib.contextmanager
    def searching(self) -> Iterator[None]:
        """Refuse a search while another thread of this process is at work on the same file."""
        lock = self._lock
        if lock is None:  # closed: the search is complete
            yield
            return
        with _GUARD:
            if lock.is_searching:
                raise InputError(
                    f"{self.path}: expected no other search in this folder, got one running in another thread"
                )
            lock.is_searching = True
        try:
            yield
        finally:
            lock.is_searching = False

    def close(self) -> None:
        """Let other processes have the file; what was written is on disk."""
        if self._handle != _CLOSED:
            with contextlib.suppress(OSError):
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = _CLOSED
        self._lock = None

    def _locked(self) -> _Lock:
        """Refuse a second process. A file of its own is locked: where Windows locks a file, nobody else can read it."""
        descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        opened, status = _Lock(descriptor), os.fstat(descriptor)
        held = _LOCKS.get((status.st_dev, status.st_ino))
        if held is not None:
            return held
        if not files.lock(descriptor, self.path):
            raise InputError(f"{self.path}: expected no other search in this folder, got one running")
        _LOCKS[status.st_dev, status.st_ino] = opened
        return opened

    def _whole_lines(self) -> list[dict]:
        """All lines; one that was cut short by a crash, which can only be the last, is cut off with a warning."""
        data = _read_all(self._handle)
        *raw, rest = data.split(b"\n")
        lines: list[dict] = []
        start = 0
        for line in raw:
            found = parse_line(line)
            if found is None:
                if len(lines) + 1 < len(raw) or rest:
                    raise InputError(
                        f"{self.path}: line {len(lines) + 1}: expected a JSON object as it was written, got"
                        f" {line[:80]!r}; restore the file, or move {self.path.parent} away to search again"
                    )
                break
            lines.append(found)
            start += len(line) + 1
        if start < len(data):
            logger.warning("%s: the last line was cut short and is dropped", self.path)
            os.ftruncate(self._handle, start)
        return lines

    def _records(self, lines: list[dict]) -> list[dict]:
        if not lines:
            self.append({"version": VERSION, "fingerprint": self._fingerprint})
            return []
        header = lines[0]
        if header.get("version") != VERSION:
            raise InputError(
                f"{self.path}: version: expected {VERSION}, got {header.get('version')!r}; move {self.path.parent} away to"
                " search again"
            )
        found = header.get("fingerprint")
        if difference := first_difference(self._fingerprint, found if isinstance(found, dict) else {}):
            raise InputError(
                f"{self.path}: it belongs to another search: {difference}; "
                "take another run folder, or move this one's search/ away to search again"
            )
        return lines[1:]


class EvaluationTable:
    """An evaluator that asks another one once for each architecture and keeps the answers as JSON lines.

    A line is on disk before its answer is given, so a killed process loses none; what another process wrote before
    is read at once. One process at a time may hold the file.

    Args:
        path: of the file; made where there is none.
        fingerprint: plain JSON that names what the answers depend on; a file with another one is refused.
        evaluator: an object with `evaluate(choices)`, as SupernetTuner takes it; None for a file that is complete.

    Raises InputError for a file that cannot be read, belongs to something else or is held by another process.
    """

    def __init__(self, path, fingerprint: Mapping, evaluator=None):
        self.evaluator = evaluator
        self._journal = Journal(path, fingerprint)
        records = self._journal.open()
        try:
            self._known = {decode(record["architecture"]): _checked(record["metrics"]) for record in records}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.close()
            raise InputError(f"{path}: could not be restored: {type(error).__name__}: {error}") from error

    def __enter__(self) -> EvaluationTable:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, choices: Sequence[int]) -> bool:
        return tuple(choices) in self._known

    def items(self) -> ItemsView[tuple[int, ...], dict]:
        """(choices, metrics) of every architecture in the file."""
        return self._known.items()

    def evaluate(self, choices: Sequence[int]) -> dict:
        """{"accuracy": 0..1, ...} of one architecture, given by its choice indices [num_layers]."""
        choices = tuple(int(choice) for choice in choices)
        if choices not in self._known:
            if self.evaluator is None:
                raise InputError(f"{self._journal.path}: expected every architecture, {choices} is missing")
            metrics = _checked(self.evaluator.evaluate(choices))
            self._journal.append({"architecture": ",".join(map(str, choices)), "metrics": metrics})
            self._known[choices] = metrics
        return dict(self._known[choices])

    def begin_generation(self, architectures: Sequence[Sequence[int]]) -> None:
        """Tell the evaluator, if it wants to know, which of the architectures it will be asked for."""
        begin = getattr(self.evaluator, "begin_generation", None)
        missing = [tuple(choices) for choices in architectures if choices not in self]
        if begin is not None and missing:
            begin(missing)

    def close(self) -> None:
        """Let other processes have the file."""
        self._journal.close()


def first_difference(expected: Mapping, found: Mapping) -> str | None:
    """The first key whose values differ, in words; None where all are equal."""
    for key in sorted({*expected, *found}):
        if expected.get(key) != found.get(key):
            return f"{key}: expected {expected.get(key)!r}, found {found.get(key)!r}"
    return None


def read_lines(path) -> list[dict | None]:
    """All lines of a journal, as `parse_line` reads them, text after the last whole line as another; InputError for no file."""
    try:
        return [parse_line(line) for line in pathlib.Path(path).read_bytes().removesuffix(b"\n").split(b"\n")]
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror or error}") from error


def parse_line(line: bytes) -> dict | None:
    """The object in a line of a journal, without its CRC; None for a line that is torn or changed."""
    found = _CRC.fullmatch(line)
    if found is None or int(found[2], 16) != zlib.crc32(found[1]):
        return None
    try:
        value = json.loads(found[1] + b"}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def format_line(record: Mapping) -> bytes:
    """Inverse of `parse_line`, with the line's end."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return text[:-1] + f',"crc":"{zlib.crc32(text[:-1]):08x}"}}\n'.encode()


def _read_all(handle: int) -> bytes:
    """The whole file."""
    os.lseek(handle, 0, os.SEEK_SET)
    parts = []
    while part := os.read(handle, 2**20):
        parts.append(part)
    return b"".join(parts)


def _checked(metrics: Mapping) -> dict[str, float]:
    """The finite ones of an evaluation's metrics; BadMetrics unless there is an accuracy from 0 to 1 among them."""
    checked_accuracy(metrics)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
