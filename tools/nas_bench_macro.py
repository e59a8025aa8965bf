"""NAS-Bench-Macro (Su et al., arXiv:2103.11922): its space, the published trainings of all its networks on CIFAR-10, and what a
score is worth that orders them.

The file nas-bench-macro_cifar10.json is not part of this project; its authors publish it as xiusu/NAS-Bench-Macro.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.space.equivalence import canonical
from scarlet_tf.space.search_space import SearchSpace

CLASSES, SEEDS = 10, 3
SPACE = SearchSpace(
    "nas_bench_macro",
    stages=(Stage(64, 2, 2), Stage(128, 3, 2), Stage(256, 3, 2)),
    choices=(Choice(), Choice(3, 3), Choice(6, 5)),  # in the order of the table's digits
    stem_channels=32,
    stem_stride=1,
    first_channels=None,
    activation="relu",
    input_size=32,
    stem_activation="relu",
    tail_activation="relu",
    skip_projection=True,
)


def costs() -> CostTable:
    """Costs of the space's networks at the table's size of images."""
    return cost_table(SPACE, SPACE.input_size, CLASSES)


def default_path() -> pathlib.Path:
    """The table below SCARLET_DATA_DIR, or below `data`."""
    return pathlib.Path(os.environ.get("SCARLET_DATA_DIR", "data")) / "nas_bench_macro/nas-bench-macro_cifar10.json"


@dataclasses.dataclass(frozen=True)
class Table:
    """The different networks, one of all equal ones, and their published trainings.

    networks: choice indices [N, 8]; accuracies: test accuracies [N, 3] from 0 to 1, a column a seed; multiply_adds: [N].
    """

    networks: np.ndarray
    accuracies: np.ndarray
    multiply_adds: np.ndarray

    @functools.cached_property
    def depths(self) -> np.ndarray:
        """Layers that are not skipped [N]."""
        return (self.networks != 0).sum(axis=1)

    def spread(self, count: int, seed: int) -> Table:
        """So many different networks, one from each of as many parts of equal number by rising multiply-adds."""
        rng, order = np.random.default_rng(seed), np.argsort(self.multiply_adds, kind="stable")
        drawn = [rng.choice(part) for part in np.array_split(order, count)]
        return Table(self.networks[drawn], self.accuracies[drawn], self.multiply_adds[drawn])


def load_table(path) -> Table:
    """The table in a file as published. Raises InputError for a file that is missing, torn, or another one."""
    names, networks, rows = _rows(path)
    accuracies = np.array([_accuracies(path, name, rows[name]) for name in names]) / 100
    counted = costs().count(networks)
    for key, ours in zip(("flops", "params"), counted, strict=True):
        for name, count in zip(names, ours.tolist(), strict=True):
            if rows[name].get(key) != count:
                raise InputError(
                    f"{path}: {name}.{key}: expected {count}, as the space has it, got {rows[name].get(key)!r}"
                )
    different = (canonical(networks, SPACE) == networks).all(axis=1)
    return Table(networks[different], accuracies[different], counted[0][different])


def equal_costs(path) -> tuple[int, int]:
    """(networks whose published multiply-adds and parameters equal the space's, all networks) of a file."""
    names, networks, rows = _rows(path)
    equal = [
        (rows[name].get("flops"), rows[name].get("params")) == (cost, size)
        for name, cost, size in zip(names, *(count.tolist() for count in costs().count(networks)), strict=True)
    ]
    return sum(equal), len(equal)


def _rows(path) -> tuple[list[str], np.ndarray, dict]:
    """(names in order, their choice indices [N, 8], rows by name)."""
    rows = read_json(path)
    names = sorted(rows) if isinstance(rows, dict) else []
    if len(names) != SPACE.size or any(len(name) != SPACE.num_layers or set(name) - set("012") for name in names):
        raise InputError(
            f"{path}: expected the {SPACE.size} networks of NAS-Bench-Macro, strings of eight digits 0 to 2"
        )
    for name in names:
        if not isinstance(rows[name], dict):
            raise InputError(f"{path}: {name}: expected test_acc, flops and params, got {rows[name]!r}")
    return names, np.array([[int(digit) for digit in name] for name in names]), rows


def _accuracies(path, name: str, row) -> list[float]:
    found = row.get("test_acc")
    values = found if isinstance(found, list) else []
    if len(values) != SEEDS or not all(isinstance(value, (int, float)) and 0 <= value <= 100 for value in values):
        raise InputError(f"{path}: {name}.test_acc: expected {SEEDS} numbers from 0 to 100, got {found!r}")
    return values


# -- what a score is worth -----------------------------------------------------------------------------------------

WINDOW = 5_000_000
FEWEST = 10
"""Networks that a window of multiply-adds needs to count."""
TIES = 50
"""Random orders of networks with equal scores, over which a regret is the mean."""
FIGURES = ("tau", "tau_window", "spearman", "regret_top1", "regret_top5")


class Ranking:
    """Figures of scores of networks with known accuracies.

    tau: Kendall's tau-b; tau_window: its mean over windows of WINDOW multiply-adds with at least FEWEST networks, weighted by
    their pairs; spearman: correlation of ranks; regret_top1, regret_top5: points of accuracy by which the network of the best
    score, or the best of the five best-scored, stays below the best of its window, the mean over windows.

    Args:
        truth: accuracies [N] from 0 to 1.
        multiply_adds: [N].
        resamples: of the bootstrap: networks with replacement, the windows as they are; of regrets, windows.
    """

    def __init__(self, truth, multiply_adds, resamples: int = 0, seed: int = 0):
        self.truth = np.asarray(truth, float)
        numbers, rng = np.asarray(multiply_adds) // WINDOW, np.random.default_rng(seed)
        inside = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
        self.windows = [members for members in inside if len(members) >= FEWEST]
        number = len(self.truth)
        drawn = rng.multinomial(number, np.full(number, 1 / number), size=resamples)
        self._counts = np.concatenate([np.ones((1, number)), drawn])  # [1 + resamples, N], as it is first
        windows = len(self.windows)
        shares = rng.multinomial(windows, np.full(windows, 1 / windows), size=resamples) if windows else np.ones((0, 0))
        self._shares = np.concatenate([np.ones((1, windows)), shares]) / max(windows, 1)

    def curves(self, score) -> dict[str, np.ndarray]:
        """{figure: [1 + resamples], its value, then that of each resample}; not a number without windows."""
        score = np.asarray(score, float)
        taus = [self._tau(score, members) for members in self.windows]
        pairs = [len(members) * (len(members) - 1) / 2 for members in self.windows]
        none = np.full(len(self._counts), np.nan)
        found = {
            "tau": self._tau(score, np.arange(len(score))),
            "tau_window": np.average(taus, axis=0, weights=pairs) if taus else none,
            "spearman": self._spearman(score),
        }
        for top in (1, 5):
            found[f"regret_top{top}"] = self._mean([self._regret(score, members, top) for members in self.windows])
        return found

    def random_curves(self) -> dict[str, np.ndarray]:
        """The regrets of networks drawn at random, exactly."""
        return {f"regret_top{top}": self._mean([self._expected(m, top) for m in self.windows]) for top in (1, 5)}

    def _mean(self, regrets: list[float]) -> np.ndarray:
        return self._shares @ np.array(regrets) if regrets else np.full(len(self._shares), np.nan)

    def _tau(self, score: np.ndarray, members: np.ndarray) -> np.ndarray:
        """tau-b of each resample: a network that is drawn w times has w in every pair, and is tied with itself."""
        counts = self._counts[:, members]
        ours, theirs = _signs(score[members]), _signs(self.truth[members])
        agreed, told, known = (
            ((counts @ matrix) * counts).sum(axis=1) for matrix in (ours * theirs, abs(ours), abs(theirs))
        )
        return agreed / np.sqrt(np.maximum(told * known, 1e-9))  # without any order: 0

    def _spearman(self, score: np.ndarray) -> np.ndarray:
        """Twice a rank less the mean one is the sum of the signs of the differences from all others."""
        ours, theirs = (self._counts @ _signs(values) for values in (score, self.truth))
        sums = [(self._counts * product).sum(axis=1) for product in (ours * theirs, ours**2, theirs**2)]
        return sums[0] / np.sqrt(np.maximum(sums[1] * sums[2], 1e-9))

    def _regret(self, score: np.ndarray, members: np.ndarray, top: int) -> float:
        truth, keys = self.truth[members], np.random.default_rng(0).random((TIES, len(members)))
        order = np.lexsort((keys, np.broadcast_to(-score[members], keys.shape)))
        return 100 * float(truth.max() - truth[order[:, :top]].max(axis=1).mean())

    def _expected(self, members: np.ndarray, top: int) -> float:
        """The greatest of `top` drawn is the m-th from below in comb(m - 1, top - 1) of comb(n, top) draws."""
        truth, number = np.sort(self.truth[members]), len(members)
        chances = [math.comb(m, top - 1) / math.comb(number, top) for m in range(number)]
        return 100 * float(truth.max() - truth @ chances)


def _signs(values: np.ndarray) -> np.ndarray:
    return np.sign(values[:, None] - values[None, :])


def standardised(values) -> np.ndarray:
    """With a mean of 0 and a deviation of 1; a constant becomes 0."""
    centred = np.asarray(values, float) - np.mean(values)
    return centred / (centred.std() or 1.0)


def interval(curve: np.ndarray) -> list[float | None]:
    """[value, low, high] of a curve of `Ranking`, with the bounds of 95 % of its resamples; None where there is none."""
    if np.isnan(curve[0]):
        return [None, None, None]
    low, high = np.quantile(curve[1:], [0.025, 0.975]) if len(curve) > 1 else (np.nan, np.nan)
    return [_rounded(v) for v in (curve[0], low, high)]


def _rounded(value: float) -> float | None:
    return round(float(value), 4) + 0.0 if np.isfinite(value) else None  # no -0.0


def over_seeds(curves: Sequence[Mapping[str, np.ndarray]]) -> dict[str, list[float | None]]:
    """{figure: [value, low, high]}: of one seed as `interval` has it; of several their mean and Student's interval of it."""
    if len(curves) == 1:
        return {name: interval(curve) for name, curve in curves[0].items()}
    found = {}
    for name in curves[0]:
        values = np.array([curve[name][0] for curve in curves])
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        found[name] = [_rounded(values.mean() + shift) for shift in (0, -half, half)]
    return found


def plain_figures(table: Table, resamples: int) -> dict[str, dict]:
    """{way: its figures} of depth, cost and random draws, and of one published training against the mean of the other two."""
    ranking = Ranking(table.accuracies.mean(axis=1), table.multiply_adds, resamples)
    found = {"depth": ranking.curves(table.depths), "cost": ranking.curves(table.multiply_adds)}
    found["random"] = ranking.random_curves()
    seeds = []
    for column in table.accuracies.T:
        others = (table.accuracies.sum(axis=1) - column) / (SEEDS - 1)
        seeds.append(Ranking(others, table.multiply_adds, resamples).curves(column))
    found["ceiling"] = {name: np.mean([seed[name] for seed in seeds], axis=0) for name in FIGURES}
    return {way: over_seeds([curves]) for way, curves in found.items()}
