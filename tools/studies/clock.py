"""CpuClock: the CPU seconds of a training, also when it was interrupted."""

from __future__ import annotations

import pathlib
import time

import keras

from scarlet_tf.files import read_json, write_json

CPU_FILE = "cpu.json"


class CpuClock(keras.callbacks.Callback):
    """Counter of the process' CPU seconds, all threads, and of the steps made in them; kept in `path` after each epoch.

    Steps that an interrupted epoch repeats count each time.
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
            self.path, {"cpu_seconds": known["cpu_seconds"] + now - self._began, "steps": known["steps"] + self._steps}
        )
        self._began, self._steps = now, 0

    def cpu_seconds(self, steps: int) -> float | None:
        """CPU seconds of a training of `steps` steps, by the mean over the counted steps; None if there are none."""
        known = self._known()
        return steps * known["cpu_seconds"] / known["steps"] if known["steps"] else None

    def _known(self) -> dict:
        return read_json(self.path) if self.path.exists() else {"cpu_seconds": 0.0, "steps": 0}
