"""Latency and size of a space's parts as LiteRT runs them on this host, for the search to predict networks with."""

from __future__ import annotations

import logging
import os
import pathlib
import platform
import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from scarlet_tf.errors import InputError
from scarlet_tf.export.quantization import convert
from scarlet_tf.export.quiet import quiet
from scarlet_tf.files import read_json, write_json
from scarlet_tf.layers import primitives
from scarlet_tf.metric_table import MetricTable, parts
from scarlet_tf.models.builder import connect_block, connect_stem, connect_tail
from scarlet_tf.progress import progress_bar
from scarlet_tf.space import SearchSpace
from scarlet_tf.spec import NetworkSpec

logger = logging.getLogger("scarlet_tf")
METRICS = ("latency_ms", "file_bytes")
SECONDS_PER_PART = 0.25
WARM_UP_RUNS = 5


def build_latency_table(
    space: SearchSpace, path, input_size: int | None = None, num_classes: int = 1000, threads: int = 1
) -> MetricTable:
    """Measures every part of `space` as a float32 .tflite of its own and writes the MetricTable to `path`.

    Metrics: `latency_ms`, the median of the runs within a quarter of a second, and `file_bytes`. What running and storing
    next to nothing takes is taken off each part. A table that was begun is continued: each part that was measured is
    kept in `path` with suffix .partial until all are there. InputError where that was begun with other settings.
    """
    path, size = pathlib.Path(path), space.input_size if input_size is None else input_size
    if threads < 1:
        raise InputError(f"threads: expected an integer >= 1, got {threads}")
    if path.is_dir() or not path.name:
        raise InputError(f"{path}: expected the name of a file for the table, got a folder")
    partial = path.with_name(path.name + ".partial")
    settings = {
        "space": space.fingerprint,
        "input_size": size,
        "num_classes": num_classes,
        "device": describe_host(threads),
    }
    entries = _begun(partial, settings)
    todo = list(parts(space, size, num_classes))
    nothing = keras.Input((1, 1, 1))
    idle_ms, idle_bytes = measure_model(keras.Model(nothing, keras.layers.ReLU()(nothing)), threads)
    with progress_bar("latency", len(todo), sum(key in entries for key, _, _ in todo)) as bar:
        for key, about, part_size in todo:
            if key in entries:
                continue
            milliseconds, file_bytes = measure_model(_part(space, about, part_size, num_classes), threads)
            entries[key] = [round(max(0.0, milliseconds - idle_ms), 6), max(0, file_bytes - idle_bytes)]
            write_json(partial, {**settings, "entries": entries})
            bar.advance()
    table = MetricTable(space, size, num_classes, METRICS, entries, settings["device"], str(path))
    table.save(path)
    partial.unlink(missing_ok=True)
    return table


def measure_model(model: keras.Model, threads: int = 1) -> tuple[float, int]:
    """(median milliseconds of one image, bytes) of a model as a float32 .tflite file of batch 1."""
    with quiet():
        signature = tf.function(lambda x: model(x, training=False)).get_concrete_function(
            tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
        )
        content = convert(lambda: tf.lite.TFLiteConverter.from_concrete_functions([signature], model), "none")
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    image = np.random.default_rng(0).normal(size=(1, *model.input_shape[1:])).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    for _ in range(WARM_UP_RUNS):
        interpreter.invoke()
    seconds, until = [], time.perf_counter() + SECONDS_PER_PART
    while len(seconds) < WARM_UP_RUNS or time.perf_counter() < until:
        started = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds), len(content)


def describe_host(threads: int) -> dict:
    """What a latency belongs to."""
    return {
        "host": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "runtime": "LiteRT, float32",
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _begun(partial: pathlib.Path, settings: dict) -> dict[str, list[float]]:
    if not partial.exists():
        return {}
    found = read_json(partial)
    if not isinstance(found, dict) or not isinstance(found.get("entries"), dict):
        raise InputError(f"{partial}: expected a table that was begun; remove it to begin anew")
    for key, value in settings.items():
        if found.get(key) != value:
            raise InputError(
                f"{partial}: it was begun with another {key}: expected {value}, found {found.get(key)}; remove it to begin anew"
            )
    logger.info("%s: continued", partial)
    return dict(found["entries"])


def _part(space: SearchSpace, about, size: tuple[int, int], num_classes: int | None) -> keras.Model:
    """A part of `metric_table.parts` as a model of its own."""
    stem, first, tail = space.widths
    if about == "stem":
        spec = NetworkSpec((*size, 3), num_classes, stem, space.stem_stride, first, (), tail)
        image = keras.Input((*size, 3))
        return keras.Model(image, connect_stem(spec, image, primitives, seed=0))
    if isinstance(about, int):
        spec = NetworkSpec((*size, 3), num_classes, stem, 1, about, (), tail)
        features = keras.Input((*size, about))
        return keras.Model(features, connect_tail(spec, features, primitives, seed=0))
    features = keras.Input((*size, about.in_channels))
    return keras.Model(features, connect_block(about, features, primitives, seed=0))
