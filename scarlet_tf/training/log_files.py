"""Log files of a training, written by Keras' own callbacks: a CSV table and TensorBoard's events."""

from __future__ import annotations

import csv
import importlib.util
import io
import pathlib
from collections.abc import Sequence
from typing import IO

import keras

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import write_text


def log_callbacks(section: str, tensorboard: bool, table: bool, folder, columns: Sequence[str]) -> list:
    """The callbacks that a section's switches ask for: `<folder>/tensorboard/` and `<folder>/log.csv`.

    `columns`: of the table, behind "epoch". Raises InputError when there is no folder, or no package tensorboard.
    """
    for key, wanted in (("tensorboard", tensorboard), ("csv", table)):
        if wanted and folder is None:
            raise InputError(f"{section}.{key}: expected false without a run_dir, got true")
    found = []
    if table:
        found.append(ResumableCSVLogger(pathlib.Path(folder) / "log.csv", columns))
    if tensorboard:
        if importlib.util.find_spec("tensorboard") is None:
            raise InputError(
                "tensorboard: expected the package tensorboard, which is not installed; install it with"
                " pip install 'scarlet_tf[tensorboard]', or set it to false"
            )
        # A resumed training adds an events file. Epochs done again are in both, and TensorBoard draws them twice.
        found.append(keras.callbacks.TensorBoard(str(pathlib.Path(folder) / "tensorboard"), write_graph=False))
    return found


class ResumableCSVLogger(keras.callbacks.CSVLogger):
    """Keras' CSVLogger for trainings that resume: a row an epoch, whatever was done twice.

    The rows from the first epoch of this process on are dropped when it begins: they were written by one that was killed
    before its checkpoint. The columns are known beforehand, because Keras takes them from the first epoch, which may lack
    figures that later ones have; a figure that an epoch does not have is "NA".

    Args:
        path: of the file.
        columns: names of figures; columns that the file has already are kept.
    """

    csv_file: IO[str] | None

    def __init__(self, path, columns: Sequence[str]):
        super().__init__(path, append=True)
        self.columns = list(columns)

    def on_train_begin(self, logs=None):
        """Nothing yet: which epoch comes first is not known."""

    def on_epoch_begin(self, epoch, logs=None):
        if self.csv_file is None:
            self._rewrite(epoch)
            # As the csv module wants it: Keras opens it with line ends that Windows doubles.
            self.csv_file = open(self.filename, "a", newline="", encoding="utf-8")  # noqa: SIM115 - closed at the end
            self.append_header, self.writer, self.keys = False, None, self.columns

    def _rewrite(self, first_epoch: int) -> None:
        path = pathlib.Path(self.filename)
        rows, old = [], []
        if path.exists():
            with path.open(newline="", encoding="utf-8", errors="replace") as file:
                reader = csv.DictReader(file)
                rows = [row for row in reader if str(row.get("epoch")).isdecimal() and int(row["epoch"]) < first_epoch]
                old = [name for name in reader.fieldnames or () if name != "epoch"]
        self.columns = list(dict.fromkeys([*old, *self.columns]))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *self.columns], restval="NA", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())
