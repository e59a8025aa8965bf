"""Atomic writes of files (written beside the target, synced, renamed over it), locks, and portable file names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO

import filelock

from scarlet_tf.base.errors import InputError

logger = logging.getLogger("scarlet_tf")
# The ending of files that are being written; a process that is killed leaves such files.
TEMPORARY = ".tmp"
DIGEST_KEY = "sha256_of_all_above"
_DIGEST, _END = f',\n "{DIGEST_KEY}": "', '"\n}\n'
_LIKE_A_DIGEST = re.compile(r',\n "[^"\n]*": "[0-9a-f]{64}"\n}\n\Z')
# Characters that Windows allows in no name, and the names that it reserves for devices, in any case and with any ending.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]|[. ]+$|^$')
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)


@contextlib.contextmanager
def atomic_writer(path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file that replaces `path` when the block ends without an error.

    When anything fails (a full disk, a killed process) the previous content of `path` is untouched. A failing
    write raises InputError that names `path` and the system's reason.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # With the permissions of any new file: tempfile's, for the owner alone, would deny a server access.
        # Text has the same bytes on every system, so that digests agree.
        encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
        with open(temporary, mode.replace("w", "x"), encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: could not be written: {error.strerror or error}; the previous file is kept"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def write_text(path, text: str) -> None:
    """Write `text` to `path`, atomically."""
    with atomic_writer(path, "w") as file:
        file.write(text)


def write_json(path, value) -> None:
    """Write `value` as JSON to `path`, atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_result(path, value: Mapping) -> None:
    """Write JSON with a digest as the last entry, which `read_json` checks: for files whose figures are shown."""
    write_text(path, with_digest(json.dumps(value, indent=1, allow_nan=False)))


def with_digest(text: str) -> str:
    """The text of a JSON object that is not empty, with the SHA-256 of all text before it as a last entry."""
    head = text.rstrip().removesuffix("}").rstrip()
    return head + _last_entry(head)


def has_digest(path) -> bool:
    """True if `write_result` wrote the JSON file, or at least its end."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return _start_of_digest(file.read()) is not None


def write_archive(file, folder) -> None:
    """Write all files in a folder into a ZIP archive, uncompressed, in the order of their names, dated 1 January 1980.

    ZIP cannot store earlier dates, which a board without a battery may have.
    """
    folder = pathlib.Path(folder)
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            member.file_size = path.stat().st_size  # determines whether it needs ZIP64
            with path.open("rb") as source, archive.open(member, mode="w") as target:
                shutil.copyfileobj(source, target)


def read_json(path):
    """Read JSON; InputError names the file if it is missing, unreadable, damaged, or not as `write_result` wrote it.

    The returned value does not contain the digest.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        value = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # from too deeply nested brackets
        raise InputError(f"{path}: expected JSON: {error}") from error
    if (start := _start_of_digest(text)) is None:
        return value
    if text != text[:start] + _last_entry(text[:start]):
        raise InputError(f"{path}: changed after it was written: its digest is that of another content")
    return {key: inner for key, inner in value.items() if key != DIGEST_KEY}


def _start_of_digest(text: str) -> int | None:
    """Start of the digest's entry, even if its name or its value is damaged."""
    if found := _LIKE_A_DIGEST.search(text):
        return found.start()
    return start if (start := text.rfind(_DIGEST)) >= 0 else None


def _last_entry(head: str) -> str:
    return f"{_DIGEST}{hashlib.sha256(head.encode()).hexdigest()}{_END}"


def lock(descriptor: int, name, needed: bool = False) -> bool:
    """Lock an open file; return False if another opening of it, in this process or elsewhere, has the lock.

    The system releases the lock when the file is closed or the process ends for any reason. If the file system
    offers no locks, the log says so about `name`, and the file counts as locked; if a lock is needed, that is an InputError.
    """
    try:
        return filelock.lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if needed:
            raise InputError(f"{name}: expected a file system with locks, which has none: {error}") from error
        logger.debug("%s: the file system offers no locks: %s", name, error)
        return True


@contextlib.contextmanager
def locked(folder: pathlib.Path, needed: bool = False) -> Iterator[bool]:
    """Hold the lock of a folder, which is made if it is missing; give False if another process holds it.

    needed: as for `lock`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "ab")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{folder}: could not be written: {error.strerror or error}") from error
    with file:
        yield lock(file.fileno(), folder, needed)


def file_name(text: str) -> str:
    """Return `text` if Linux, macOS and Windows all accept it as the name of a file or folder, else one derived from it.

    In that name, "_" replaces forbidden characters and follows a device's name; a digest distinguishes texts that differ there.
    """
    name = _FORBIDDEN.sub("_", text)
    if _DEVICE.match(name):
        name = f"_{name}"
    return name if name == text else f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def _sync_folder(folder: pathlib.Path) -> None:
    """Make the rename itself survive a power cut, if the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
