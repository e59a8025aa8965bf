"""Results that are measured once: each a small JSON file, written atomically, stored by the settings of its measurement."""

from __future__ import annotations

import hashlib
import json
import logging
import pathlib
from collections.abc import Callable

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_json, write_result

logger = logging.getLogger("scarlet_tf")


def digest(settings) -> str:
    """Twelve hex digits of plain JSON values, for the name of a folder."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


class Store:
    """A folder of results that were measured with the same settings.

    Args:
        folder: the store becomes a folder in it, named after `kind` and the settings' digest, so results of other
        settings stay beside it and are never mixed up with these.
        settings: plain JSON, written to `settings.json` for readers.
    """

    def __init__(self, folder, kind: str, settings: dict):
        self.folder = pathlib.Path(folder) / f"{kind}-{digest(settings)}"
        self._settings = settings

    def path(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.json"

    def known(self, name: str) -> dict | None:
        """The result, or None if there is none; a damaged one counts as none."""
        if not self.path(name).exists():
            return None
        try:
            return read_json(self.path(name))
        except InputError as error:
            logger.warning("%s; it is measured again", error)
            return None

    def get(self, name: str, measure: Callable[[], dict]) -> dict:
        """The result, measured now if it is not known."""
        found = self.known(name)
        if found is None:
            found = measure()
            self.put(name, found)
        return found

    def put(self, name: str, result: dict) -> None:
        """Keep a result."""
        if not self.path("settings").exists():
            write_json(self.path("settings"), self._settings)
        write_result(self.path(name), result)


def name_of(architecture) -> str:
    """An architecture as the name of a file: its choices joined by dashes."""
    return "-".join(map(str, architecture.choices))
