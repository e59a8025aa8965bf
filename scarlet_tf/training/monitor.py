"""Monitor: watches, epoch by epoch, whether a supernet in training comes to rank its paths."""

from __future__ import annotations

import logging
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result
from scarlet_tf.data.inputs import ArraySplit
from scarlet_tf.evaluation.evaluator import MAX_CACHED_BYTES, Evaluator
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.sampling import panel_paths, update_counts

if TYPE_CHECKING:
    from scarlet_tf.training.config import SupernetConfig

logger = logging.getLogger("scarlet_tf")

# The figures that an epoch's logs get; skip_bias and stability only where they exist.
FIGURES = ("panel_accuracy", "panel_deviation", "skip_bias", "stability")

# A path costs at most RECALIBRATION_BATCHES + ceil(EXAMPLES / BATCH_SIZE) forward passes of a batch; layers that paths begin
# with alike run once. With 1000 images an accuracy of 50 % is known to 1.6 points (one standard deviation).
BATCH_SIZE = 64
RECALIBRATION_BATCHES = 8
EXAMPLES = 1000


class Monitor:
    """Measures a panel of paths at each epoch's end and keeps the record in one JSON file.

    It serves as the loop's `on_epoch_end` rather than as a Keras callback, so that its figures are in the history and in
    what the callbacks (TensorBoard, CSV) are given. Nothing that it does changes what is trained.

    Args:
        supernet: the one in training.
        optimizer: its count of iterations is the number of steps done.
        config: how many paths are watched, and how training samples its own.
        train: the split that batch normalisation is recalibrated on, for each path.
        validation: the split whose images are scored: a fixed random EXAMPLES of them, or the first where the split
            cannot be drawn from.
        file: where the record is kept; None keeps it in memory. After each epoch it is written whole, and holds "panel"
            (the paths), "examples" (images behind an accuracy), "update_counts" [num_layers][num_choices], "epochs" and
            "verdict". A row of "epochs" has "epoch", "steps", "accuracies", "mean", "deviation" (all as shares, 0..1),
            "histogram" (counts for each tenth of 0..1), "skip_bias", "stability" and "updates": the least and the greatest
            number of updates that a choice has had.

    What a resumed training needs is read from the file; an epoch that is done again replaces its row. `writes=False`
    only reads it, as all workers but the chief do.
    """

    def __init__(
        self, supernet: Supernet, optimizer, config: SupernetConfig, train, validation, file=None, writes: bool = True
    ):
        self.supernet, self.optimizer, self.config, self.seed = supernet, optimizer, config, config.seed
        self.paths = panel_paths(supernet.space, config.monitor_paths, config.seed)
        self.file, self.writes = None if file is None else pathlib.Path(file), writes
        self._train, self._validation = train, validation
        self._evaluator: Evaluator | None = None
        self.rows = self._read()
        self._counts, self._counted = np.zeros((), np.int64), 0

    def on_epoch_end(self, epoch: int) -> dict:
        """The scalar figures of the panel as the supernet is now; the record is written before they are returned."""
        self.rows = [row for row in self.rows if row["epoch"] < epoch]
        before = self.rows[-1].get("losses", ()) if self.rows and self.rows[-1]["epoch"] == epoch - 1 else ()
        figures = self.measure()
        accuracies, losses = ([one[name] for one in figures] for name in ("accuracy", "loss"))
        counts = self._update_counts()
        row = {
            "epoch": epoch,
            "steps": self._counted,
            "accuracies": accuracies,
            "losses": losses,
            "mean": float(np.mean(accuracies)),
            "deviation": float(np.std(accuracies)),
            "histogram": histogram(accuracies),
            "skip_bias": skip_bias(accuracies, count_skips(self.supernet.space, self.paths)),
            "stability": stability(before, losses),
            "updates": {"least": int(counts.min()), "greatest": int(counts.max())},
        }
        self.rows.append(row)
        self._write(counts)
        values = (row["mean"], row["deviation"], row["skip_bias"], row["stability"])
        return {name: value for name, value in zip(FIGURES, values, strict=True) if value is not None}

    def measure(self) -> list[dict]:
        """Evaluator's figures of each path as the supernet is now, with batch normalisation recalibrated for it."""
        if self._evaluator is None:
            scored = _some_of(self._validation, self.num_examples, self.seed)
            settings = (RECALIBRATION_BATCHES, BATCH_SIZE, self.seed)
            self._evaluator = Evaluator(self.supernet, scored, self._train, *settings)
        paths = [tuple(path) for path in self.paths.tolist()]
        self._evaluator.forget()
        self._evaluator.begin_generation(sorted(paths))
        found = {path: self._evaluator.evaluate(path) for path in sorted(paths)}
        return [found[path] for path in paths]

    @property
    def num_examples(self) -> int:
        """Number of images that are scored."""
        return min(EXAMPLES, self._validation.num_examples)

    def image_bytes(self) -> int:
        """The most that the kept images take."""
        image = 4 * int(np.prod(self.supernet.image_shape))
        return sum(min(image * n, MAX_CACHED_BYTES) for n in (self.num_examples, BATCH_SIZE * RECALIBRATION_BATCHES))

    @property
    def measured(self) -> bool:
        """True if this object measured the panel itself, rather than reading an earlier process' results."""
        return self._counted > 0

    def verdict(self) -> dict:
        """Verdict on the ranking's reliability; see scarlet_tf.training.monitor."""
        row = self.rows[-1] if self.rows else None
        return verdict(row, self.num_examples, self.supernet.num_classes)

    def _update_counts(self) -> np.ndarray:
        steps = int(keras.ops.convert_to_numpy(self.optimizer.iterations))
        config, space = self.config, self.supernet.space
        self._counts = self._counts + update_counts(
            config.sampling, space, self.seed, self._counted, steps, config.sandwich_random
        )
        self._counted = steps
        return self._counts

    def _write(self, counts: np.ndarray) -> None:
        if self.file is None or not self.writes:
            return
        record = {"panel": self.paths.tolist(), "examples": self.num_examples}
        record |= {"update_counts": counts.tolist(), "epochs": self.rows, "verdict": self.verdict()}
        write_result(self.file, record)

    def _read(self) -> list[dict]:
        """The rows of an earlier process, unless they are of another panel or cannot be read."""
        if self.file is None or not self.file.exists():
            return []
        try:
            record = read_json(self.file)
            same = (record["panel"], record["examples"]) == (self.paths.tolist(), self.num_examples)
            if same:
                return list(record["epochs"])
        except (InputError, KeyError, TypeError) as error:
            logger.warning("%s: not as it was written (%s); the record begins again", self.file, error)
            return []
        logger.warning("%s: of another panel of paths; the record begins again", self.file)
        return []


def _some_of(split, count: int, seed: int):
    """`count` images of a split, the same each time: random ones where it can be drawn from, else its first."""
    if isinstance(split, ArraySplit):
        chosen = np.sort(np.random.default_rng(seed).permutation(split.num_examples)[:count])
        return ArraySplit(split.images[chosen], split.labels[chosen])
    if hasattr(split, "take"):
        return split.take(count, seed)
    return split.batches(BATCH_SIZE).unbatch().take(count).batch(BATCH_SIZE)


# -- Figures of the ranking of a supernet's paths, and a verdict in words: whether the ranking can be trusted ------
#
# The thresholds are our reading; no paper gives any. They find rankings that cannot be good, not those that are: whether
# the order agrees with stand-alone training is known only from networks trained on their own.


HISTOGRAM_BINS = 10
# A mean accuracy below twice that of guessing: the paths have not learnt what could be ranked.
LEAST_MEAN_OVER_CHANCE = 2.0
# The paths' deviation in units of the error that the number of images leaves in one accuracy: below, they may differ by chance.
LEAST_DEVIATION_OVER_NOISE = 2.0
# Two groups whose means are 1.5 deviations of all paths apart hardly overlap: the number of skips is then most of the ranking.
MOST_SKIP_BIAS_OVER_DEVIATION = 1.5
# Kendall's tau of 0.6: of two paths, four pairs in five keep their order from one epoch to the next.
LEAST_STABILITY = 0.6


def count_skips(space: SearchSpace, paths: np.ndarray) -> np.ndarray:
    """int [n]: how many layers of each of the paths [n, num_layers] are skipped."""
    is_skip = np.array([choice.is_skip for choice in space.choices])
    return is_skip[np.asarray(paths)].sum(axis=1)


def histogram(accuracies: Sequence[float]) -> list[int]:
    """Number of accuracies in each tenth of 0..1."""
    return np.histogram(accuracies, HISTOGRAM_BINS, (0.0, 1.0))[0].tolist()


def skip_bias(accuracies: ArrayLike, skips: ArrayLike) -> float | None:
    """Mean accuracy of the paths with more skips than the median path, minus that of the others; None without both."""
    accuracies, skips = np.asarray(accuracies, np.float64), np.asarray(skips)
    many = skips > np.median(skips)
    if many.all() or not many.any():
        return None
    return float(accuracies[many].mean() - accuracies[~many].mean())


def stability(before: Sequence[float], now: Sequence[float]) -> float | None:
    """Kendall's tau-b between two rankings of the same paths, -1..1; None where either ranks nothing."""
    if len(before) < 2 or len(set(before)) == 1 or len(set(now)) == 1:
        return None
    return float(scipy.stats.kendalltau(before, now).statistic)


def verdict(row: Mapping | None, num_examples: int, num_classes: int) -> dict:
    """{"trusted": True, False or None, "text", "checks": {name: {"value", "threshold", "holds"}}} for an epoch's figures.

    Args:
        row: of the monitor's record: "mean", "deviation", "skip_bias" and "stability"; None without any epoch.
        num_examples: images behind each accuracy.
        num_classes: of the supernet.

    A check without a value (the stability after one epoch, the bias of a space without skips) decides nothing; without
    that of the stability nothing is trusted: the verdict is None.
    """
    if row is None:
        return {"trusted": None, "text": "no epoch was measured", "checks": {}}
    mean, deviation = row["mean"], row["deviation"]
    noise = math.sqrt(mean * (1 - mean) / num_examples)
    bias = None if row["skip_bias"] is None or not deviation else abs(row["skip_bias"]) / deviation
    over_noise = deviation / noise if noise else None
    checks = {
        "mean_over_chance": _at_least(mean * num_classes, LEAST_MEAN_OVER_CHANCE),
        "deviation_over_noise": _at_least(over_noise, LEAST_DEVIATION_OVER_NOISE),
        "skip_bias_over_deviation": {
            "value": bias,
            "threshold": MOST_SKIP_BIAS_OVER_DEVIATION,
            "holds": None if bias is None else bias <= MOST_SKIP_BIAS_OVER_DEVIATION,
        },
        "stability": _at_least(row["stability"], LEAST_STABILITY),
    }
    failed = [name for name, check in checks.items() if check["holds"] is False]
    undecided = checks["stability"]["holds"] is None
    trusted = False if failed else None if undecided else True
    return {"trusted": trusted, "text": _text(trusted, failed, checks, row), "checks": checks}


_REASONS = {
    "mean_over_chance": "its paths are hardly better than guessing: {value:.2g} times chance, {threshold:g} wanted",
    "deviation_over_noise": "its paths differ by little more than chance: deviation {value:.2g} times the sampling error,"
    " {threshold:g} wanted",
    "skip_bias_over_deviation": "the number of skips is most of the ranking: their bias is {value:.2g} deviations,"
    " at most {threshold:g} wanted",
    "stability": "the order still changes from epoch to epoch: Kendall's tau {value:.2f}, {threshold:g} wanted",
}


def _at_least(value: float | None, threshold: float) -> dict:
    return {"value": value, "threshold": threshold, "holds": None if value is None else value >= threshold}


def _text(trusted: bool | None, failed: list[str], checks: Mapping, row: Mapping) -> str:
    figures = f"one-shot accuracy {100 * row['mean']:.1f} % with deviation {100 * row['deviation']:.1f} points"
    if row["skip_bias"] is not None:
        figures += f", skip bias {100 * row['skip_bias']:+.1f} points"
    if row["stability"] is not None:
        figures += f", stability {row['stability']:.2f}"
    if trusted:
        return f"nothing speaks against the ranking ({figures})"
    if trusted is None:
        return f"undecided: two epochs have to be compared before the ranking can be judged ({figures})"
    reasons = "; ".join(_REASONS[name].format(**checks[name]) for name in failed)
    return f"the ranking should not be trusted: {reasons} ({figures})"
