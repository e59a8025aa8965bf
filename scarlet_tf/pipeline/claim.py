"""One process at a time in a run folder."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from scarlet_tf.errors import InputError
from scarlet_tf.files import TEMPORARY, lock

# Files and folders that a run writes. Nothing else is touched: the user's folder may hold other files, too.
_PLACES = ("", "supernet", "search", "retrain", "optimize", "optimize/*", "export", "export/saved_model")
_PLACES += ("ranking", "ranking/*", "ranking/*/*/retrain", "compare", "compare/searches/*")


@contextlib.contextmanager
def alone_in(folder) -> Iterator[None]:
    """Refuse a folder that another process works in; the system releases the lock when a process ends for any reason.

    Half-written files of a killed process are removed.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "ab")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{folder}: could not be written: {error.strerror or error}") from error
    with file:
        if not lock(file.fileno(), folder):
            raise InputError(
                f"{folder}: another process is at work in this run folder; wait for it, or use another --run-dir"
            )
        for place in _PLACES:
            for path in folder.glob(str(pathlib.PurePath(place, f".*.????????{TEMPORARY}"))):
                _remove(path)
        yield


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
