"""Correction of a table of parts by networks that were measured whole, and how far its predictions are from such.

`correct` is a regularised regression that keeps sums sums; `calibrate` applies it to a table and reports the errors.

A network's latency is modelled as counts @ (parts + changes). The changes are normally distributed beforehand: a part may be
off by itself, together with others of its kind, together with all, in proportion to its weights, or by the same time as
every part; how far, in shares, `Priors` says [reading]. What is then most likely, given the measured networks, is a
linear system of as many equations as networks, and what it would have said of each network without that network
follows from the same system. Far from the networks measured, the parts keep what was measured of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.metric_table import MetricTable
from scarlet_tf.space.search_space import Architecture

LATENCY = "latency_ms"


@dataclasses.dataclass(frozen=True)
class Priors:
    """Standard deviations beforehand, as shares.

    own, kind, common: of a part's own latency.
    weights, constant: of the median network's latency: spread over its parts as their bytes are, or evenly.
    noise: of a network's latency, what measuring it again would change.
    """

    own: float = 0.05
    kind: float = 0.1
    common: float = 0.3
    weights: float = 0.2
    constant: float = 0.1
    noise: float = 0.02


@dataclasses.dataclass(frozen=True)
class Correction:
    """parts: corrected latencies [K], none below 0. left_out: of each network without its own measurement [N]."""

    parts: np.ndarray
    left_out: np.ndarray


def correct(
    parts: np.ndarray,
    counts: np.ndarray,
    measured: np.ndarray,
    kinds: Sequence[str],
    weights: np.ndarray | None = None,
    priors: Priors | None = None,
) -> Correction:
    """Latencies of parts, corrected by networks measured whole.

    Args:
        parts: latencies of K parts, >= 0.
        counts: how often each of N networks has each part, [N, K].
        measured: latencies of the networks, > 0, [N].
        kinds: K names; parts of one name tend to be off together.
        weights: K sizes, such as bytes; None for no such effect.
        priors: how far off what may be.

    InputError for shapes that do not fit and for latencies that cannot be.
    """
    priors = priors or Priors()
    parts, counts, measured = (np.asarray(values, float) for values in (parts, counts, measured))
    _check(parts, counts, measured, kinds)
    moves = _moves(parts, counts, measured, kinds, weights, priors)
    seen = counts @ moves  # what each of the changes does to each network, in standard deviations
    covariance = seen @ seen.T + np.diag((priors.noise * measured) ** 2)
    inverse = np.linalg.inv(covariance)
    solved = inverse @ (measured - counts @ parts)
    corrected = parts + moves @ (seen.T @ solved)
    return Correction(np.maximum(corrected, 0.0), measured - solved / np.diag(inverse))


def _moves(parts, counts, measured, kinds, weights, priors: Priors) -> np.ndarray:
    """One column for each independent cause: how far one standard deviation of it moves each part, [K, causes]."""
    typical, uses = np.median(measured), np.median(counts.sum(axis=1))
    columns = [priors.common * parts, np.where(parts > 0, priors.constant * typical / uses, 0.0)]
    columns += [np.where(np.array(kinds) == kind, priors.kind * parts, 0.0) for kind in dict.fromkeys(kinds)]
    if weights is not None:
        sizes = np.asarray(weights, float)
        of_a_network = np.median(counts @ sizes)
        columns += [priors.weights * typical * sizes / of_a_network] if of_a_network > 0 else []
    return np.concatenate([np.stack(columns, axis=1), np.diag(priors.own * parts)], axis=1)


def _check(parts, counts, measured, kinds) -> None:
    if counts.shape != (len(measured), len(parts)) or len(kinds) != len(parts) or not len(measured):
        raise InputError(
            f"correction: expected counts of shape [networks, parts] and a kind for each part, got {list(counts.shape)} for"
            f" {len(measured)} networks, {len(parts)} parts and {len(kinds)} kinds"
        )
    if not (np.isfinite(parts).all() and (parts >= 0).all() and np.isfinite(measured).all() and (measured > 0).all()):
        raise InputError("correction: expected finite latencies, of parts >= 0 and of networks > 0")


def calibrate(table: MetricTable, networks: Mapping[Architecture, float]) -> tuple[MetricTable, dict]:
    """`table` with its latencies corrected by networks {architecture: milliseconds measured whole}; and a report.

    The report, plain JSON: for each network measured_ms, the table's sum_ms, the corrected table's corrected_ms, and
    left_out_ms, which the other networks alone would have predicted; under "sum", "corrected" and "left_out" the errors
    of each. What is to be expected of further networks is left_out's. InputError for a table without latency_ms.
    """
    if LATENCY not in table.names:
        raise InputError(f"{table.source}: metrics: expected {LATENCY} among them, got {list(table.names)}")
    keys, architectures = list(table.entries), list(networks)
    parts = np.array([table.entries[key][table.names.index(LATENCY)] for key in keys], float)
    measured = np.array([networks[architecture] for architecture in architectures], float)
    counts = _counts(table, keys, architectures)
    found = correct(np.maximum(parts, 0), counts, measured, [kind(key) for key in keys], _bytes(table, keys))
    corrected = table.with_metric(LATENCY, dict(zip(keys, found.parts.round(6).tolist(), strict=True)))
    predictions = {"sum": counts @ parts, "corrected": counts @ found.parts, "left_out": found.left_out}
    rows = [
        {
            "architecture": architecture.to_string(),
            "measured_ms": round(float(measured[i]), 6),
            **{f"{name}_ms": round(float(values[i]), 6) for name, values in predictions.items()},
        }
        for i, architecture in enumerate(architectures)
    ]
    return corrected, {"networks": rows, **{name: errors(values, measured) for name, values in predictions.items()}}


def errors(predicted: ArrayLike, measured: ArrayLike) -> dict[str, float | None]:
    """Shares of the measured latency: the median absolute error, the greatest and the median one; and Spearman's rho.

    rho is None where it is not defined, as of a single network.
    """
    predicted, measured = np.asarray(predicted, float), np.asarray(measured, float)
    off = predicted / measured - 1
    distinct = len(np.unique(predicted)) > 1 and len(np.unique(measured)) > 1
    return {
        "median_absolute_error": round(float(np.median(np.abs(off))), 5),
        "max_absolute_error": round(float(np.abs(off).max()), 5),
        "median_error": round(float(np.median(off)), 5),
        "spearman": round(float(spearmanr(predicted, measured).statistic), 5) if distinct else None,
    }


def kind(key: str) -> str:
    """Group of entries whose errors tend to be correlated: blocks of one filter, with or without squeeze-and-excitation."""
    words = key.split()
    if words[0] != "ir":
        return words[0]
    return f"ir {words[2]}" + ("" if words[4] == "se0" else " se")


def _counts(table: MetricTable, keys: Sequence[str], architectures: Sequence[Architecture]) -> np.ndarray:
    places = {key: place for place, key in enumerate(keys)}
    counts = np.zeros((len(architectures), len(keys)))
    for row, architecture in zip(counts, architectures, strict=True):
        for key in table.keys_of(architecture):
            row[places[key]] += 1
    return counts


def _bytes(table: MetricTable, keys: Sequence[str]) -> np.ndarray | None:
    if "file_bytes" not in table.names:
        return None
    return np.array([table.entries[key][table.names.index("file_bytes")] for key in keys], float)
