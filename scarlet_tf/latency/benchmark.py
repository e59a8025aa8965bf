"""Latencies of exported files: side by side, on this host or on a phone, and beside what a table predicts."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from scarlet_tf.base.progress import progress_bar
from scarlet_tf.base.streams import quiet
from scarlet_tf.export.tflite import describe_tflite
from scarlet_tf.latency.adb import AdbRunner
from scarlet_tf.latency.correction import LATENCY
from scarlet_tf.latency.measuring import PASSES
from scarlet_tf.latency.timing import ROUNDS, SECONDS_PER_ROUND, Runner, new_interpreter, time_interpreters
from scarlet_tf.space.metric_table import MetricTable
from scarlet_tf.space.search_space import Architecture


def benchmark(
    files: Sequence,
    threads: int = 1,
    rounds: int = ROUNDS,
    seconds_per_round: float = SECONDS_PER_ROUND,
    phone: AdbRunner | None = None,
) -> list[dict[str, Any]]:
    """One row a file, in plain JSON types.

    file, bytes, milliseconds (median of all runs of one image), deviation (median absolute deviation, ms), runs, ratio
    (to the first file: the median of the rounds' ratios), multiply_adds and milliseconds_per_100m (None where the file's
    metadata do not state its multiply-adds), partitions on this host. On this host the files take turns, `rounds` times
    `seconds_per_round` each. A `phone` runs one after another, with its own number of threads; the ratio is then that of
    the times, and the deviation what benchmark_model states. InputError when a file is missing, torn or not runnable.
    """
    paths = [pathlib.Path(file) for file in files]
    descriptions = [describe_tflite(path) for path in paths]
    if phone is None:
        figures = _on_this_host(paths, threads, rounds, seconds_per_round)
    else:
        figures = _on_phone(paths, phone)
    rows = []
    for path, description, measured in zip(paths, descriptions, figures, strict=True):
        multiply_adds = (description["metadata"] or {}).get("multiply_adds")
        per_100m = 1e8 * measured["milliseconds"] / multiply_adds if multiply_adds else None
        rows.append(
            {
                "file": str(path),
                "bytes": description["bytes"],
                **measured,
                "multiply_adds": multiply_adds,
                "milliseconds_per_100m": per_100m,
                "partitions": description["partitions"],
            }
        )
    return rows


def _on_this_host(paths: Sequence[pathlib.Path], threads: int, rounds: int, seconds: float) -> list[dict]:
    with quiet():
        interpreters = [new_interpreter(path.read_bytes(), threads) for path in paths]
    with progress_bar("benchmark", rounds * len(paths)) as bar:
        timings = time_interpreters(interpreters, rounds, seconds, bar.advance)
    return [
        {
            "milliseconds": timing.milliseconds,
            "deviation": timing.deviation,
            "runs": timing.num_runs,
            "ratio": timing.ratio(timings[0]),
        }
        for timing in timings
    ]


def _on_phone(paths: Sequence[pathlib.Path], phone: AdbRunner) -> list[dict]:
    found = phone.measure_files(paths)
    return [
        {
            "milliseconds": each.milliseconds,
            "deviation": each.deviation,
            "runs": each.num_runs,
            "ratio": each.milliseconds / found[0].milliseconds,
        }
        for each in found
    ]


def beside_table(
    file: pathlib.Path,
    runner: Runner,
    table: MetricTable,
    architecture: Architecture | None,
    corrected: float | None = None,
) -> dict[str, Any]:
    """The latency of an exported file as measured, beside what `table` predicts of its network, in plain JSON types.

    architecture: of the network; None for one that the table does not cover, which is only measured.
    corrected: the milliseconds that a corrected table predicts. "error" is the share by which it, or else the table's own
        prediction, is off.
    """
    content = file.read_bytes()
    measured = min((runner.measure([content])[0] for _ in range(PASSES)), key=lambda found: found.milliseconds)
    found = {
        "file": file.name,
        "device": runner.device,
        "measured_ms": round(measured.milliseconds, 6),
        "deviation_ms": round(measured.deviation, 6),
        "runs": measured.num_runs,
    }
    if architecture is None:
        return found
    predicted = table.sums([architecture.choices])[LATENCY][0].item()
    return {
        **found,
        "table": table.fingerprint,
        "predicted_ms": round(predicted, 6),
        **({} if corrected is None else {"corrected_ms": round(corrected, 6)}),
        "error": round((predicted if corrected is None else corrected) / measured.milliseconds - 1, 5),
    }
