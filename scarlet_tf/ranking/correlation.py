"""Kendall's tau between two accuracies of the same networks, with a bootstrap confidence interval."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats

from scarlet_tf.errors import InputError

LEVEL = 0.95


def kendall(one_shot: Sequence[float], stand_alone: Sequence[float], resamples: int = 2000, seed: int = 0) -> dict:
    """{"tau", "low", "high", "p_value", "resamples"} of two accuracies [N] of the same N networks.

    tau: tau-b, which allows for ties; p_value: of the hypothesis that the two are independent. low, high: percentile
    bootstrap, 95 %, over networks drawn with replacement, none with 0 `resamples`. resamples: those that count; one whose
    networks all share an accuracy has no tau. If one side is constant, tau is not defined and the figures are None.
    """
    pairs = np.asarray([one_shot, stand_alone], np.float64)
    if pairs.ndim != 2 or pairs.shape[1] < 2 or not np.isfinite(pairs).all():
        raise InputError(f"kendall: expected two lists of the same N >= 2 finite accuracies, got {pairs.tolist()}")
    tau, p_value = _tau(*pairs)
    figures = {"tau": tau, "low": None, "high": None, "p_value": p_value, "resamples": 0}
    if tau is None or not resamples:
        return figures
    values = _resampled(pairs, resamples, seed)
    if len(values):
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        figures |= {"low": float(low), "high": float(high), "resamples": len(values)}
    return figures


def _tau(first: np.ndarray, second: np.ndarray) -> tuple[float | None, float | None]:
    found = stats.kendalltau(first, second)
    return (None, None) if np.isnan(found.statistic) else (float(found.statistic), float(found.pvalue))


def _resampled(pairs: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Values of tau, for each resample that has one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy warns of resamples without a tau; they are counted instead
        found = stats.bootstrap(
            tuple(pairs),
            lambda x, y: stats.kendalltau(x, y).statistic,
            paired=True,
            vectorized=False,
            n_resamples=resamples,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    return found.bootstrap_distribution[np.isfinite(found.bootstrap_distribution)]
