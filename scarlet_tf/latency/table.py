"""A table of what a space's parts take under LiteRT, for the search to predict networks with."""

from __future__ import annotations

import functools
import logging
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.export.tflite import QUANTIZATIONS
from scarlet_tf.latency.adb import AdbRunner
from scarlet_tf.latency.correction import LATENCY, calibrate
from scarlet_tf.latency.measuring import (
    PASSES,
    Measurements,
    idle_content,
    network_content,
    part_content,
    takes_nothing,
)
from scarlet_tf.latency.timing import HostRunner, Runner
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.metric_table import MetricTable, parts
from scarlet_tf.space.search_space import Architecture, SearchSpace

logger = logging.getLogger("scarlet_tf")
METRICS = (LATENCY, "file_bytes")
NETWORKS = 10
SECONDS_PER_PART = 0.02
IDLE = "idle"
_CANDIDATES = 1000


def build_latency_table(
    space: SearchSpace,
    path,
    input_size: int | None = None,
    num_classes: int = 1000,
    threads: int = 1,
    *,
    quantization: str = "none",
    runner: Runner | None = None,
    passes: int = PASSES,
    networks: int = NETWORKS,
) -> MetricTable:
    """Measures every part of `space` as a .tflite of its own, corrects the sums by whole networks, writes the table.

    Args:
        path: of the table; YAML where it ends in .yaml or .yml, else JSON.
        threads: of LiteRT on this host, where no `runner` is given.
        quantization: of the files, as `export_tflite` takes it.
        runner: what measures, such as an AdbRunner.
        passes: how often each file is measured, all files in turn; the fastest pass counts.
        networks: how many stand-alone networks, from cheap to dear, are measured whole beside the parts; the table's
            latencies are corrected by them (`calibrate`). 0: none, and nothing says how far off the sums are.

    Metrics: `latency_ms` and `file_bytes`, both without what next to nothing takes. A table that was begun is
    continued: what was measured is kept in `path` with suffix .partial until all is there. InputError where that was
    begun with other settings.
    """
    host.check()
    path, size = pathlib.Path(path), space.input_size if input_size is None else input_size
    _check(path, quantization, networks)
    runner = runner or HostRunner(threads, quantization, SECONDS_PER_PART)
    settings = {
        "space": space.fingerprint,
        "input_size": size,
        "num_classes": num_classes,
        "device": runner.device,
    }
    partial = path.with_name(path.name + ".partial")
    measurements, chosen = Measurements(partial, settings), choose_networks(space, size, num_classes, networks)
    files = _part_files(space, size, num_classes, quantization)
    files |= {
        one.to_string(): functools.partial(network_content, one, size, num_classes, quantization) for one in chosen
    }
    measurements.measure(files, runner, passes, "latency")
    table = _table(space, size, num_classes, runner.device, measurements, str(path))
    if chosen:
        table, report = calibrate(table, {one: measurements.of(one.to_string()).milliseconds for one in chosen})
        table.details["calibration"] = report
    table.save(path)
    partial.unlink(missing_ok=True)
    return table


def choose_networks(
    space: SearchSpace, input_size: int, num_classes: int | None, count: int, seed: int = 0
) -> list[Architecture]:
    """`count` different architectures, or all there are, from the cheap to the dear among a thousand random ones."""
    if count < 1:
        return []
    rng = np.random.default_rng(seed)
    drawn = np.unique(rng.integers(space.num_choices, size=(_CANDIDATES, space.num_layers)), axis=0)
    drawn = drawn[np.argsort(cost_table(space, input_size, num_classes).sums(drawn)["multiply_adds"], kind="stable")]
    places = np.unique(np.linspace(0, len(drawn) - 1, min(count, len(drawn))).round().astype(int))
    return [Architecture(tuple(drawn[place].tolist()), space) for place in places]


def table_runner(table: MetricTable, adb: Mapping | None = None) -> Runner | None:
    """The runner on the table's device, with its threads and quantization; None, with a warning, if the device is not here.

    `adb`: serial and benchmark_model of an AdbRunner, which then measures. InputError if it leads to another device.
    """
    threads, quantization = table.device.get("threads", 1), table.device.get("quantization", "none")
    if adb is not None:
        phone = AdbRunner(**adb, threads=threads, quantization=quantization)
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


def _part_files(space, size, num_classes, quantization) -> dict[str, Callable[[], bytes]]:
    files: dict[str, Callable[[], bytes]] = {IDLE: idle_content}
    for key, about, part_size in parts(space, size, num_classes):
        if not takes_nothing(space, about):
            files[key] = functools.partial(part_content, space, about, part_size, num_classes, quantization)
    return files


def _table(space, size, num_classes, device, measurements: Measurements, source: str) -> MetricTable:
    idle, entries, measured = measurements.of(IDLE), {}, {}
    for key, _, _ in parts(space, size, num_classes):
        if key not in measurements.passes:
            entries[key] = [0.0, 0]
            continue
        found = measurements.of(key)
        file_bytes = max(0, measurements.bytes[key] - measurements.bytes[IDLE])
        entries[key] = [round(max(0.0, found.milliseconds - idle.milliseconds), 6), file_bytes]
        measured[key] = [round(found.milliseconds, 6), round(found.deviation, 6), found.num_runs]
    details = {"measured": {IDLE: [round(idle.milliseconds, 6), round(idle.deviation, 6), idle.num_runs], **measured}}
    return MetricTable(space, size, num_classes, METRICS, entries, device, source, details)


def _check(path: pathlib.Path, quantization: str, networks: int) -> None:
    if path.is_dir() or not path.name:
        raise InputError(f"{path}: expected the name of a file for the table, got a folder")
    if quantization not in QUANTIZATIONS:
        raise InputError(f"quantization: expected one of {', '.join(QUANTIZATIONS)}, got {quantization!r}")
    if networks < 0:
        raise InputError(f"networks: expected an integer >= 0, got {networks}")
