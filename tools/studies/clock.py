"""CpuClock: what a training costs in CPU seconds, also when it was interrupted."""

from __future__ import annotations

import pathlib
import time

import keras

from scarlet_tf.files import read_json, write_json

CPU_FILE = "cpu.json"


class CpuClock(keras.callbacks.Callback):
    """Counts the CPU seconds of the process, all threads, and the steps they went into; kept in `path` after each epoch.

    Steps that an interrupted epoch repeats count as often as they were done.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)
        self._began, self._steps = 0.0, 0

    def on_train_begin(self, logs=None):
        self._began, self._steps = time.process_time(), 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1

    def on_epoch_end(self, epoch, logs=None):
        now, known = time.process_time(), self._known()
        write_json(
            self.path,
            {"cpu_seconds": known["cpu_seconds"] + now - self._began, "steps": known["steps"] + self._steps},
        )
        self._began, self._steps = now, 0

    def cpu_seconds(self, steps: int) -> float | None:
        """Of a training of `steps` steps, by the mean over the steps counted; None where none was."""
        known = self._known()
        return steps * known["cpu_seconds"] / known["steps"] if known["steps"] else None

    def _known(self) -> dict:
        return read_json(self.path) if self.path.exists() else {"cpu_seconds": 0.0, "steps": 0}
