"""A table of parts, corrected by networks that were measured whole, and how far its predictions are from such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from scarlet_tf.errors import InputError
from scarlet_tf.export.correction import correct
from scarlet_tf.metric_table import MetricTable
from scarlet_tf.space import Architecture

LATENCY = "latency_ms"


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
    """Which entries of a table tend to be off together: blocks of one filter, with or without squeeze-and-excitation."""
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
