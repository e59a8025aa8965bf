"""Samples and statistics: architectures drawn by cost, Kendall's tau of two accuracies, medians of hypervolume curves."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.front import Archive
from scarlet_tf.search.objectives import CostModel, Objectives
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.search_space import Architecture, SearchSpace

POOL = 20_000
"""A space of at most this many networks is divided completely; of a larger one, that many random networks are."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """An architecture, the stratum that it was drawn from (0 is the cheapest), and its stand-alone cost."""

    architecture: Architecture
    stratum: int
    multiply_adds: int
    params: int


def stratified_sample(costs: CostTable, count: int, strata: int, seed: int) -> list[Sample]:
    """`count` different architectures of the space of `costs`, by stratum and rising multiply-adds.

    The networks, ordered by multiply-adds, are cut into `strata` parts of equal number; from each part as many are
    drawn, without replacement. A remainder goes to the cheaper strata, one each. A pure function of
    its arguments. Raises InputError when the space has fewer networks than `count`.
    """
    space, rng = costs.space, np.random.default_rng(seed)
    if not 1 <= strata <= count:
        raise InputError(f"ranking.strata: expected from 1 to {count}, the number of architectures, got {strata}")
    if count > min(space.size, POOL):
        raise InputError(
            f"ranking.architectures: expected at most {min(space.size, POOL)} (the space has {space.size} networks),"
            f" got {count}"
        )
    pool = _pool(space, rng)
    multiply_adds, params = costs.count(pool)
    order = np.argsort(multiply_adds, kind="stable")
    samples = []
    # Equal division puts the remainder into the first parts, both of the pool and of the count, so no part is too small.
    shares = [len(part) for part in np.array_split(np.arange(count), strata)]
    for stratum, (members, share) in enumerate(zip(np.array_split(order, strata), shares, strict=True)):
        chosen = rng.choice(members, share, replace=False)
        for index in chosen[np.argsort(multiply_adds[chosen], kind="stable")]:
            architecture = Architecture(tuple(pool[index].tolist()), space)
            samples.append(Sample(architecture, stratum, int(multiply_adds[index]), int(params[index])))
    return samples


def _pool(space: SearchSpace, rng: np.random.Generator) -> np.ndarray:
    """Different choice indices [N, num_layers] in a fixed order: the whole space, or a random part of a large one."""
    if space.size <= POOL:
        axes = np.unravel_index(np.arange(space.size), (space.num_choices,) * space.num_layers)
        return np.stack(axes, axis=1)
    drawn = np.empty((0, space.num_layers), np.int64)
    while len(drawn) < POOL:  # repeats are few unless the space is hardly larger than the pool
        more = rng.integers(space.num_choices, size=(POOL, space.num_layers))
        drawn = np.unique(np.concatenate([drawn, more]), axis=0)
    return drawn[np.sort(rng.choice(len(drawn), POOL, replace=False))]


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


RESAMPLES = 2000


def hypervolume_curve(search: Mapping, cost_model: CostModel, objectives: Objectives) -> np.ndarray:
    """Hypervolume, 0..1 of HypervolumeBox, of all models found so far, after each evaluation of a search: [N], rising.

    For a search that evaluated nothing it is [0].
    """
    archive = Archive(cost_model, objectives)
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
