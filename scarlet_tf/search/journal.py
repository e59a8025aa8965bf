"""The search's journal: one appended line a finished trial, one atomic snapshot a generation.

Each line ends with a CRC of itself and the snapshot with a digest, so that a change of either is noticed. A damaged
snapshot counts as none: the search makes it again from the lines. Lines cannot be made again; a damaged one is refused,
but for the last one, which a crash may have cut short.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import re
import threading
import time
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence

from scarlet_tf import files
from scarlet_tf.errors import InputError

logger = logging.getLogger("scarlet_tf")
VERSION = 1
# Entry of a fingerprint: the number of what an evaluation means (checks.EVALUATION). Earlier versions wrote none.
EVALUATION_KEY = "evaluation"
_CRC = re.compile(rb'(.*),"crc":"([0-9a-f]{8})"}')
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
        self._has_crc = True  # as the first line

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
            lines = self._whole_lines()
            found = self._read_state(), self._records(lines)
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
        line = _line(record, self._has_crc) + b"\n"
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
        files.write_result(self.state_path, {"version": VERSION, "fingerprint": self._fingerprint, "state": state})

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
        try:
            snapshot = files.read_json(self.state_path)
        except InputError as error:
            logger.warning("%s; it is made again from %s", error, self.trials_path.name)
            return None
        self._check(self.state_path, snapshot)
        return snapshot.get("state")

    def _records(self, lines: list[dict]) -> list[dict]:
        if not lines:
            self._has_crc = True
            self.append({"version": VERSION, "fingerprint": self._fingerprint})
            return []
        self._check(self.trials_path, lines[0])
        if not self._has_crc:
            logger.warning(
                "%s: an earlier version began it: its lines have no CRC, so that changes to them are not noticed%s",
                self.trials_path,
                ""
                if self._says_evaluation(lines[0])
                else "; how it recalibrated BN is not recorded, so that its accuracies may not compare with new ones",
            )
        return lines[1:]

    def _says_evaluation(self, header: Mapping) -> bool:
        """True if the header states the meaning of evaluations, or this search does not."""
        return EVALUATION_KEY not in self._fingerprint or EVALUATION_KEY in header["fingerprint"]

    def _whole_lines(self) -> list[dict]:
        """All lines; one that was cut short by a crash, which can only be the last, is cut off with a warning."""
        data = _read_all(self._handle)
        *raw, rest = data.split(b"\n")
        self._has_crc = not raw or _has_crc(raw[0])
        lines: list[dict] = []
        start = 0
        for line, found in zip(raw, parse_lines(raw), strict=True):
            if found is None:
                if len(lines) + 1 < len(raw) or rest:
                    raise InputError(
                        f"{self.trials_path}: line {len(lines) + 1}: expected a JSON object as it was written, got"
                        f" {line[:80]!r}; restore the file, or move {self.trials_path.parent} away to search again"
                    )
                break
            lines.append(found)
            start += len(line) + 1
        if start < len(data):
            logger.warning("%s: the last line was cut short and is dropped", self.trials_path)
            os.ftruncate(self._handle, start)
        return lines

    def _check(self, path: pathlib.Path, header) -> None:
        if not isinstance(header, dict) or header.get("version") != VERSION:
            version = header.get("version") if isinstance(header, dict) else header
            raise InputError(f"{path}: version: expected {VERSION}, got {version!r}")
        found = header.get("fingerprint")
        found = found if isinstance(found, dict) else {}
        if not self._has_crc and EVALUATION_KEY in self._fingerprint:
            found = {
                EVALUATION_KEY: self._fingerprint[EVALUATION_KEY],
                **found,
            }  # an earlier version's: told, not refused
        if difference := first_difference(self._fingerprint, found):
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


def read_lines(path) -> list[dict | None]:
    """All lines of a journal that lies in a file, as `parse_lines` reads them; InputError where there is none."""
    return list(parse_lines(_lines_in(path)))


def has_crcs(path) -> bool:
    """True if the lines of a journal file have CRCs."""
    return _has_crc(_lines_in(path)[0])


def parse_lines(lines: Sequence[bytes]) -> Iterator[dict | None]:
    """The object in each line of a journal, without its CRC; None for a line that is torn or changed.

    Lines of a journal whose first one has no CRC, which earlier versions wrote, have none.
    """
    has_crc = bool(lines) and _has_crc(lines[0])
    for line in lines:
        found = _CRC.fullmatch(line)
        if bool(found) != has_crc or (found and int(found[2], 16) != zlib.crc32(found[1])):
            yield None
        else:
            yield _parse(found[1] + b"}" if found else line)


def _lines_in(path) -> list[bytes]:
    """Lines of a file, at least one; text after the last complete line counts as another."""
    try:
        return pathlib.Path(path).read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror or error}") from error


def _line(record: Mapping, has_crc: bool) -> bytes:
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return text[:-1] + f',"crc":"{zlib.crc32(text[:-1]):08x}"}}'.encode() if has_crc else text


def _has_crc(line: bytes) -> bool:
    return _CRC.fullmatch(line) is not None


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
