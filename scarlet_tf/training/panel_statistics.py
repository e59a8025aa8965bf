"""What a panel's accuracies say about the ranking of paths: spread, skip bias, stability; and how often choices moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from scarlet_tf.space import SearchSpace
from scarlet_tf.training.sampling import sample_paths

HISTOGRAM_BINS = 10
# Up to this many paths a space is small enough to draw from without repeats.
_LISTED = 10**6
# Sets the panel's draws apart from those of training steps, which are seeded with (seed, step).
_PANEL_STREAM = (0, 7919)


def panel_paths(space: SearchSpace, count: int, seed: int) -> np.ndarray:
    """int32 [n, num_layers]: `count` random paths, a pure function of the seed; all of them in a smaller space."""
    rng = np.random.default_rng((seed, *_PANEL_STREAM))
    if space.size > _LISTED:  # two equal ones among a panel's are then too rare to matter
        return rng.integers(space.num_choices, size=(count, space.num_layers), dtype=np.int32)
    drawn = rng.choice(space.size, min(count, space.size), replace=False)
    return np.stack(np.unravel_index(drawn, (space.num_choices,) * space.num_layers), axis=1).astype(np.int32)


def count_skips(space: SearchSpace, paths: np.ndarray) -> np.ndarray:
    """int [n]: how many layers of each of the paths [n, num_layers] are skipped."""
    is_skip = np.array([choice.is_skip for choice in space.choices])
    return is_skip[np.asarray(paths)].sum(axis=1)


def histogram(accuracies: Sequence[float]) -> list[int]:
    """How many accuracies lie in each tenth of 0..1."""
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


def update_counts(sampling: str, space: SearchSpace, seed: int, first: int, last: int) -> np.ndarray:
    """int64 [num_layers, num_choices]: in how many of the steps first .. last - 1 each choice was trained.

    Strict fairness trains every choice in every step; uniform sampling's paths are drawn again from seed and step.
    """
    if sampling == "strict_fair":
        return np.full((space.num_layers, space.num_choices), last - first, np.int64)
    counts = np.zeros((space.num_layers, space.num_choices), np.int64)
    layers = np.arange(space.num_layers)
    for step in range(first, last):
        for path in sample_paths(sampling, space, seed, step):
            counts[layers, path] += 1
    return counts
