"""Monitor: watches, epoch by epoch, whether a supernet in training comes to rank its paths."""

from __future__ import annotations

import logging
import pathlib

import keras
import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json, write_result
from scarlet_tf.training.panel import Panel
from scarlet_tf.training.panel_statistics import count_skips, histogram, skip_bias, stability, update_counts
from scarlet_tf.training.verdict import verdict

logger = logging.getLogger("scarlet_tf")

# The figures that an epoch's logs get; skip_bias and stability only where they exist.
FIGURES = ("panel_accuracy", "panel_deviation", "skip_bias", "stability")


class Monitor:
    """Measures a panel of paths at each epoch's end and keeps the record in one JSON file.

    It serves as the loop's `on_epoch_end` rather than as a Keras callback, so that its figures are in the history and in
    what the callbacks (TensorBoard, CSV) are given. Nothing that it does changes what is trained.

    Args:
        panel: the paths and the images.
        optimizer: its count of iterations is the number of steps done.
        sampling: "strict_fair" or "uniform".
        seed: of the training's paths.
        file: where the record is kept; None keeps it in memory. After each epoch it is written whole, and holds "panel"
            (the paths), "examples" (images behind an accuracy), "update_counts" [num_layers][num_choices], "epochs" and
            "verdict". A row of "epochs" has "epoch", "steps", "accuracies", "mean", "deviation" (all as shares, 0..1),
            "histogram" (counts for each tenth of 0..1), "skip_bias", "stability" and "updates": the least and the greatest
            number of updates that a choice has had.

    What a resumed training needs is read from the file; an epoch that is done again replaces its row. `writes=False`
    only reads it, as all workers but the chief do.
    """

    def __init__(self, panel: Panel, optimizer, sampling: str, seed: int, file=None, writes: bool = True):
        self.writes = writes
        self.panel, self.optimizer, self.sampling, self.seed = panel, optimizer, sampling, seed
        self.file = None if file is None else pathlib.Path(file)
        self.space = panel.supernet.space
        self.rows = self._read()
        self._counts, self._counted = np.zeros((), np.int64), 0

    def on_epoch_end(self, epoch: int) -> dict:
        """The scalar figures of the panel as the supernet is now; the record is written before they are answered."""
        self.rows = [row for row in self.rows if row["epoch"] < epoch]
        before = self.rows[-1]["accuracies"] if self.rows and self.rows[-1]["epoch"] == epoch - 1 else ()
        accuracies = self.panel.accuracies()
        counts = self._update_counts()
        row = {
            "epoch": epoch,
            "steps": self._counted,
            "accuracies": accuracies,
            "mean": float(np.mean(accuracies)),
            "deviation": float(np.std(accuracies)),
            "histogram": histogram(accuracies),
            "skip_bias": skip_bias(accuracies, count_skips(self.space, self.panel.paths)),
            "stability": stability(before, accuracies),
            "updates": {"least": int(counts.min()), "greatest": int(counts.max())},
        }
        self.rows.append(row)
        self._write(counts)
        values = (row["mean"], row["deviation"], row["skip_bias"], row["stability"])
        return {name: value for name, value in zip(FIGURES, values, strict=True) if value is not None}

    @property
    def measured(self) -> bool:
        """Whether this object measured the panel itself, rather than reading what an earlier process had."""
        return self._counted > 0

    def verdict(self) -> dict:
        """Whether the ranking can be trusted; see scarlet_tf.training.verdict."""
        row = self.rows[-1] if self.rows else None
        return verdict(row, self.panel.num_examples, self.panel.supernet.num_classes)

    def _update_counts(self) -> np.ndarray:
        steps = int(keras.ops.convert_to_numpy(self.optimizer.iterations))
        self._counts = self._counts + update_counts(self.sampling, self.space, self.seed, self._counted, steps)
        self._counted = steps
        return self._counts

    def _write(self, counts: np.ndarray) -> None:
        if self.file is None or not self.writes:
            return
        record = {"panel": self.panel.paths.tolist(), "examples": self.panel.num_examples}
        record |= {"update_counts": counts.tolist(), "epochs": self.rows, "verdict": self.verdict()}
        write_result(self.file, record)

    def _read(self) -> list[dict]:
        """The rows of an earlier process, unless they are of another panel or cannot be read."""
        if self.file is None or not self.file.exists():
            return []
        try:
            record = read_json(self.file)
            same = (record["panel"], record["examples"]) == (self.panel.paths.tolist(), self.panel.num_examples)
            if same:
                return list(record["epochs"])
        except (InputError, KeyError, TypeError) as error:
            logger.warning("%s: not as it was written (%s); the record begins anew", self.file, error)
            return []
        logger.warning("%s: of another panel of paths; the record begins anew", self.file)
        return []
