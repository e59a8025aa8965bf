"""Many files measured in passes: all of them in each, in mixed order, kept on disk as they come.

What else runs on a host, or a clock that was lowered, only ever adds time, and comes and goes. So of a file's passes the one
with the least median counts: what the file takes when nothing is in its way.
"""

from __future__ import annotations

import hashlib
import logging
import pathlib
import tempfile
from collections.abc import Callable, Mapping

import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.export.runners import Measurement, Runner
from scarlet_tf.files import read_json, write_result
from scarlet_tf.progress import progress_bar

logger = logging.getLogger("scarlet_tf")
BATCH = 8  # files in memory, or on the device, at one time


class Measurements:
    """What was measured of named files, kept in `path` with the settings that it belongs to.

    A process that was killed loses one batch of one pass. InputError where `path` was begun with other settings.
    """

    def __init__(self, path, settings: Mapping):
        self.path, self.settings = pathlib.Path(path), dict(settings)
        self.passes: dict[str, list[list[float]]] = {}
        self.bytes: dict[str, int] = {}
        if self.path.exists():
            self._restore(read_json(self.path))

    def measure(self, files: Mapping[str, Callable[[], bytes]], runner: Runner, passes: int, name: str) -> None:
        """Has every file measured `passes` times; `files` maps names to what makes their content."""
        if passes < 1:
            raise InputError(f"passes: expected an integer >= 1, got {passes!r}")
        done = sum(min(passes, len(self.passes.get(file, ()))) for file in files)
        with tempfile.TemporaryDirectory() as folder, progress_bar(name, passes * len(files), done) as bar:
            for number in range(passes):
                todo = [file for file in _mixed(files, number) if len(self.passes.get(file, ())) <= number]
                for start in range(0, len(todo), BATCH):
                    batch = todo[start : start + BATCH]
                    contents = [_content(pathlib.Path(folder), file, files[file]) for file in batch]
                    self._add(batch, contents, runner.measure(contents))
                    bar.advance(len(batch))

    def of(self, file: str) -> Measurement:
        """The file's fastest pass."""
        milliseconds, deviation, num_runs = min(self.passes[file])
        return Measurement(milliseconds, deviation, int(num_runs))

    def _add(self, files, contents, found) -> None:
        for file, content, one in zip(files, contents, found, strict=True):
            row = [round(one.milliseconds, 6), round(one.deviation, 6), one.num_runs]
            self.passes.setdefault(file, []).append(row)
            self.bytes[file] = len(content)
        write_result(self.path, {**self.settings, "bytes": self.bytes, "passes": self.passes})

    def _restore(self, found) -> None:
        if not isinstance(found, dict) or not isinstance(found.get("passes"), dict):
            raise InputError(f"{self.path}: expected measurements that were begun; remove it to begin anew")
        for key, value in self.settings.items():
            if found.get(key) != value:
                raise InputError(
                    f"{self.path}: it was begun with another {key}: expected {value}, found {found.get(key)}; remove it to"
                    " begin anew"
                )
        self.passes, self.bytes = found["passes"], found["bytes"]
        logger.info("%s: continued", self.path)


def _mixed(files: Mapping, number: int) -> list[str]:
    names = list(files)
    return [names[i] for i in np.random.default_rng(number).permutation(len(names))]


def _content(folder: pathlib.Path, file: str, make: Callable[[], bytes]) -> bytes:
    """A file's content, made once a process."""
    path = folder / hashlib.sha256(file.encode()).hexdigest()[:16]
    if not path.exists():
        path.write_bytes(make())
    return path.read_bytes()
