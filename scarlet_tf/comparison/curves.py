"""Hypervolume against evaluations: curves, evaluations to a target, and medians over seeds with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.front import Archive
from scarlet_tf.search.objectives import Figures, Objectives

RESAMPLES = 2000


def hypervolume_curve(search: Mapping, figures: Figures, goals: Objectives) -> np.ndarray:
    """Hypervolume, 0..1 of HypervolumeBox, of all models found so far, after each evaluation of a search: [N], rising.

    For a search that evaluated nothing it is [0].
    """
    archive = Archive(figures, goals)
    return np.array([archive.add([decode(line)], [result]) for line, result in results_of(search)] or [0.0])


def results_of(search: Mapping) -> list[tuple[str, dict | None]]:
    """(architecture, {"accuracy"} or None for a failed evaluation) of a search's evaluations, in its order."""
    pairs = zip(search["architectures"], search["accuracies"], strict=True)
    return [(line, None if accuracy is None else {"accuracy": accuracy}) for line, accuracy in pairs]


def evaluations_to(curve: np.ndarray, target: float) -> float:
    """Evaluations until the curve reaches `target`; inf when it does not."""
    reached = np.flatnonzero(curve >= target)
    return float(reached[0] + 1) if len(reached) else np.inf


def median(values: ArrayLike) -> float:
    """The lower median, which is one of the values; they may include infinite ones, for targets not reached."""
    return float(_medians(np.asarray(values, float)))


def median_figures(values: Sequence[float], seed: int = 0) -> dict:
    """{"median", "low", "high"}: the lower median and a 95 % percentile bootstrap interval; None stands for infinite.

    For fewer than 3 values the interval is None.
    """
    return _figures(median(values), _medians(_resamples(values, seed)))


def ratio_figures(values: Sequence[float], reference: Sequence[float], spent: float, seed: int = 0) -> dict:
    """Like `median_figures`, for the ratio of two medians.

    An infinite reference counts as `spent`, the number of all evaluations: the true ratio is then smaller.
    """
    reference = np.minimum(reference, spent)
    above, below = _medians(_resamples(values, seed)), _medians(_resamples(reference, seed + 1))
    drawn = above / below if len(above) == len(below) else ()
    return _figures(median(values) / median(reference), drawn)


def _medians(values: np.ndarray) -> np.ndarray:
    """The lower median of each row of values [..., N]."""
    return np.sort(values, axis=-1)[..., (values.shape[-1] - 1) // 2]


def _resamples(values: ArrayLike, seed: int) -> np.ndarray:
    """[RESAMPLES, N], drawn with replacement; none for fewer than 3 values."""
    values = np.asarray(values, float)
    count = RESAMPLES if len(values) >= 3 else 0
    return np.random.default_rng(seed).choice(values, (count, len(values)))


def _figures(value: float, resampled: Sequence[float] | np.ndarray) -> dict:
    low, high = np.quantile(resampled, [0.025, 0.975], method="inverted_cdf") if len(resampled) else (np.inf, np.inf)
    named = {"median": value, "low": low, "high": high}
    return {name: float(number) if np.isfinite(number) else None for name, number in named.items()}
