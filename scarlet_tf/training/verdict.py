"""Figures of the ranking of a supernet's paths, and a verdict in words: whether the ranking can be trusted.

The thresholds are our reading; no paper gives any. They find rankings that cannot be good, not those that are: whether
the order agrees with stand-alone training is known only from networks trained on their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from scarlet_tf.space import SearchSpace

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
    that of the stability nothing is trusted: the answer is None.
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
