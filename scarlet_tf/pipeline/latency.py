"""Latencies of a run: its table, a search's results corrected by finalists, what the certificate says of the exported network."""

from __future__ import annotations

from collections.abc import Callable

from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json
from scarlet_tf.latency.benchmark import beside_table
from scarlet_tf.latency.correction import LATENCY
from scarlet_tf.latency.finalists import measure_finalists
from scarlet_tf.latency.table import table_runner
from scarlet_tf.metric_table import MetricTable
from scarlet_tf.pipeline.run import Run
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space import Architecture


def latency_table(run: Run) -> MetricTable | None:
    """The run's `search.table`, if it predicts latencies."""
    if run.config.search.table is None:
        return None
    place = (run.config.space, run.config.data.image_size, run.data.num_classes)
    table = MetricTable.load(run.config.search.table, *place)
    return table if LATENCY in table.names else None


def check_adb(run: Run) -> None:
    """Raise InputError now, rather than after hours, if `run.adb` lacks a table with latencies or that table's phone."""
    if run.adb is None:
        return
    table = latency_table(run)
    if table is None:
        raise InputError(f"--adb: expected a table with {LATENCY} as search.table, got {run.config.search.table}")
    table_runner(table, run.adb)


def correct_latencies(
    run: Run, result: SearchResult, decide: Callable[[MetricTable], SearchResult] | None = None
) -> SearchResult:
    """`result` by latencies that finalists correct, see `measure_finalists`; as it is without table, finalists or device."""
    settings, table = run.config.search, latency_table(run)
    if table is None or settings.finalists <= 0:
        return result
    runner = table_runner(table, run.adb)
    if runner is None:
        return result
    return measure_finalists(result, settings, table, runner, run.folder / "finalists.json", decide)


def latency_details(run: Run, architecture: Architecture | None) -> dict:
    """{"latency": ...} for the certificate: the exported file of the table's quantization, predicted and measured; or {}.

    `corrected_ms` is present if finalists corrected the table. `architecture` is None for a network that was scaled after the
    search, which the table does not cover: it is only measured.
    """
    table = latency_table(run)
    if table is None:
        return {}
    quantization = table.device.get("quantization", "none")
    file = run.export_folder / f"model_{'float32' if quantization == 'none' else quantization}.tflite"
    runner = table_runner(table, run.adb) if file.exists() else None
    if runner is None:
        return {}
    corrected = None if architecture is None else _corrected(run, architecture)
    return {"latency": beside_table(file, runner, table, architecture, corrected)}


def _corrected(run: Run, architecture: Architecture) -> float | None:
    found = read_json(run.front)
    if "measured" not in found:
        return None
    rows = [*found["picks"], *found["pareto"]]
    return next((row[LATENCY] for row in rows if row["architecture"] == architecture.to_string()), None)
