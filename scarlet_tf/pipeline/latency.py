"""Latencies of a run: the table that predicts them, their measurement, and the certificate's entry for the exported network."""

from __future__ import annotations

import logging

import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.export.adb import AdbRunner
from scarlet_tf.export.calibration import LATENCY
from scarlet_tf.export.latency import PASSES
from scarlet_tf.export.runners import HostRunner, Runner
from scarlet_tf.files import read_json
from scarlet_tf.metric_table import MetricTable
from scarlet_tf.pipeline.run import Run
from scarlet_tf.space import Architecture

logger = logging.getLogger("scarlet_tf")


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
    latency_runner(run, table)


def latency_runner(run: Run, table: MetricTable) -> Runner | None:
    """The runner on the table's device, with its threads and quantization; None, with a warning, if the device is not here.

    InputError if `run.adb` leads to another device than the table's.
    """
    threads, quantization = table.device.get("threads", 1), table.device.get("quantization", "none")
    if run.adb is not None:
        phone = AdbRunner(**run.adb, threads=threads, quantization=quantization)
        if phone.device != table.device:
            raise InputError(f"--adb: expected the device of {table.source}, {table.device}, got {phone.device}")
        return phone
    runner = HostRunner(threads, quantization)
    if runner.device != table.device:
        logger.warning(
            "%s was measured on another device, %s: its latencies are neither checked nor corrected; --adb measures on a phone",
            table.source,
            table.device,
        )
        return None
    return runner


def latency_details(run: Run, architecture: Architecture | None) -> dict:
    """{"latency": ...} for the certificate: the exported file of the table's quantization, predicted and measured; or {}.

    `corrected_ms` is present if finalists corrected the table. Predictions are None for a network that was scaled after the
    search, which the table does not cover: it is only measured.
    """
    table = latency_table(run)
    if table is None:
        return {}
    quantization = table.device.get("quantization", "none")
    file = run.export_folder / f"model_{'float32' if quantization == 'none' else quantization}.tflite"
    runner = latency_runner(run, table) if file.exists() else None
    if runner is None:
        return {}
    content = file.read_bytes()
    measured = min((runner.measure([content])[0] for _ in range(PASSES)), key=lambda found: found.milliseconds)
    found = {
        "file": file.name,
        "device": runner.device,
        "measured_ms": round(measured.milliseconds, 6),
        "deviation_ms": round(measured.deviation, 6),
        "runs": measured.num_runs,
    }
    predicted = {} if architecture is None else _predicted(run, table, architecture, measured.milliseconds)
    return {"latency": {**found, **predicted}}


def _predicted(run: Run, table: MetricTable, architecture: Architecture, measured: float) -> dict:
    """The table's prediction for a network, and its error relative to the measurement."""
    predicted = table.sums(np.array([architecture.choices]))[LATENCY][0].item()
    corrected = _corrected(run, architecture)
    return {
        "table": table.fingerprint,
        "predicted_ms": round(predicted, 6),
        **({} if corrected is None else {"corrected_ms": round(corrected, 6)}),
        "error": round((predicted if corrected is None else corrected) / measured - 1, 5),
    }


def _corrected(run: Run, architecture: Architecture) -> float | None:
    found = read_json(run.front)
    if "measured" not in found:
        return None
    rows = [*found["picks"], *found["pareto"]]
    return next((row[LATENCY] for row in rows if row["architecture"] == architecture.to_string()), None)
