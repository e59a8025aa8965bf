"""The search's journal: one appended line a finished trial, one atomic snapshot a generation."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import threading
import time
import weakref
from collections.abc import Iterator, Mapping

from scarlet_tf import files
from scarlet_tf.errors import InputError

logger = logging.getLogger("scarlet_tf")
VERSION = 1
TRIALS, STATE = "trials.jsonl", "state.json"
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
    """`folder`/trials.jsonl (or `trials`) and `folder`/state.json of one search.

    The first line of trials.jsonl and a key of state.json hold `fingerprint`, plain JSON that names the search:
    files of another search are refused with an InputError that names the file and the first difference.
    """

    def __init__(self, folder, fingerprint: Mapping, trials: str = TRIALS):
        self.trials_path = pathlib.Path(folder) / trials
        self.state_path = pathlib.Path(folder) / STATE
        try:
            # As JSON reads it back, so that a tuple equals the list that it is written as.
            self._fingerprint = json.loads(json.dumps(fingerprint, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.trials_path}: expected a fingerprint of plain JSON types: {error}") from error
        self._handle = _CLOSED
        self._lock: _Lock | None = None
        self._size: int | None = None  # of trials.jsonl as this journal has read and written it
        self._synced = 0.0

    def open(self) -> tuple[dict | None, list[dict]]:
        """Opens the journal for writing; returns the last snapshot (None: there is none) and all trials' records."""
        with _GUARD:  # another thread may open the same files
            return self._open()

    def _open(self) -> tuple[dict | None, list[dict]]:
        try:
            self.trials_path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
            self._handle = os.open(self.trials_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o644)
        except OSError as error:
            self.close()
            raise InputError(f"{self.trials_path}: could not be opened: {error.strerror or error}") from error
        try:
            found = self._read_state(), self._read_trials()
            self._size = os.fstat(self._handle).st_size
            return found
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping) -> None:
        """Adds one line, whole or not at all.

        Raises InputError that names the file when it cannot be written, for example on a full disk; what was
        written before is kept.
        """
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        size = self._checked_size()
        try:
            written = 0
            while written < len(line):
                written += os.write(self._handle, line[written:])
            if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
                self._sync()
        except OSError as error:
            os.ftruncate(self._handle, size)
            raise InputError(
                f"{self.trials_path}: could not be written: {error.strerror or error}; all earlier trials are kept"
            ) from error
        self._size = size + len(line)

    def snapshot(self, state: Mapping) -> None:
        """Replaces state.json, atomically, after making sure that the trials it builds on are on disk."""
        self._checked_size()
        self._sync()
        files.write_json(self.state_path, {"version": VERSION, "fingerprint": self._fingerprint, "state": state})

    @contextlib.contextmanager
    def searching(self) -> Iterator[None]:
        """Refuses a search while another thread of this process is at work on the same files."""
        lock = self._lock
        if lock is None:  # closed: the search is complete
            yield
            return
        with _GUARD:
            if lock.is_searching:
                raise InputError(
                    f"{self.trials_path}: expected no other search in this folder, got one running in another thread"
                )
            lock.is_searching = True
        try:
            yield
        finally:
            lock.is_searching = False

    def _checked_size(self) -> int:
        """The size of trials.jsonl; InputError where another journal of this process has written to it meanwhile."""
        size = os.fstat(self._handle).st_size
        if self._size not in (None, size):
            raise InputError(
                f"{self.trials_path}: another search of this process has written to it since this one read it; go on with"
                " that one, or begin again from what is there"
            )
        return size

    def close(self) -> None:
        if self._handle != _CLOSED:
            os.close(self._handle)
            self._handle = _CLOSED
        self._lock = None

    def _sync(self) -> None:
        os.fsync(self._handle)
        self._synced = time.monotonic()

    def _locked(self) -> _Lock:
        """Refuses a second process. A file of its own is locked: where Windows locks a file, nobody else can read it."""
        descriptor = os.open(
            self.trials_path.with_name(f".{self.trials_path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644
        )
        opened, status = _Lock(descriptor), os.fstat(descriptor)
        held = _LOCKS.get((status.st_dev, status.st_ino))
        if held is not None:
            return held
        if not files.lock(descriptor, self.trials_path):
            raise InputError(f"{self.trials_path}: expected no other search in this folder, got one running")
        _LOCKS[status.st_dev, status.st_ino] = opened
        return opened

    def _read_state(self) -> dict | None:
        if not self.state_path.exists():
            return None
        snapshot = files.read_json(self.state_path)
        self._check(self.state_path, snapshot)
        return snapshot.get("state")

    def _read_trials(self) -> list[dict]:
        lines = self._whole_lines()
        if not lines:
            self.append({"version": VERSION, "fingerprint": self._fingerprint})
            return []
        self._check(self.trials_path, lines[0])
        return lines[1:]

    def _whole_lines(self) -> list[dict]:
        """All lines; one that was cut short by a crash, which can only be the last, is cut off with a warning."""
        data = _read_all(self._handle)
        lines: list[dict] = []
        start = 0
        while start < len(data):
            end = data.find(b"\n", start)
            line = _parse(data[start:end]) if end >= 0 else None
            if line is None:
                if 0 <= end < len(data) - 1:
                    raise InputError(
                        f"{self.trials_path}: line {len(lines) + 1}: expected a JSON object, got {data[start:end][:80]!r}"
                    )
                logger.warning("%s: the last line was cut short and is dropped", self.trials_path)
                os.ftruncate(self._handle, start)
                break
            lines.append(line)
            start = end + 1
        return lines

    def _check(self, path: pathlib.Path, header) -> None:
        if not isinstance(header, dict) or header.get("version") != VERSION:
            version = header.get("version") if isinstance(header, dict) else header
            raise InputError(f"{path}: version: expected {VERSION}, got {version!r}")
        found = header.get("fingerprint")
        if difference := first_difference(self._fingerprint, found if isinstance(found, dict) else {}):
            raise InputError(
                f"{path}: it belongs to another search: {difference}; "
                "take another run folder, or move this one's search/ away to search anew"
            )


def first_difference(expected: Mapping, found: Mapping) -> str | None:
    """The first key whose values differ, in words; None where all are equal."""
    for key in sorted({*expected, *found}):
        if expected.get(key) != found.get(key):
            return f"{key}: expected {expected.get(key)!r}, found {found.get(key)!r}"
    return None


def _read_all(handle: int) -> bytes:
    """The whole file."""
    os.lseek(handle, 0, os.SEEK_SET)
    parts = []
    while part := os.read(handle, 2**20):
        parts.append(part)
    return b"".join(parts)


def _parse(line: bytes) -> dict | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
