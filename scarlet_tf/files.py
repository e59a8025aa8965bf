"""Files that are either whole or not there: written beside the target, synced, then renamed over it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import IO

from scarlet_tf.errors import InputError

# The ending of what is not whole yet; a process that is killed leaves such files behind.
TEMPORARY = ".tmp"


@contextlib.contextmanager
def atomic_writer(path, mode: str = "wb") -> Iterator[IO]:
    """Opens a temporary file that replaces `path` when the block ends without an error.

    When anything fails (a full disk, a killed process) the previous content of `path` is untouched. A failing
    write raises InputError that names `path` and the system's reason.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # With the permissions of any new file: tempfile's, which are for its owner alone, would keep a server out.
        with open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
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
    """Writes `text` to `path`, atomically."""
    with atomic_writer(path, "w") as file:
        file.write(text)


def write_json(path, value) -> None:
    """Writes `value` as JSON to `path`, atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path):
    """Reads JSON; InputError names the file when it is missing, unreadable or torn."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # of brackets nested without end
        raise InputError(f"{path}: expected JSON: {error}") from error


def _sync_folder(folder: pathlib.Path) -> None:
    """Makes the rename itself survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
