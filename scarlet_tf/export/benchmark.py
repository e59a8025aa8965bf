"""Times .tflite files side by side on this host."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from scarlet_tf.export import flatbuffer
from scarlet_tf.export.quiet import quiet
from scarlet_tf.export.tflite import describe_tflite
from scarlet_tf.export.timing import ROUNDS, SECONDS_PER_ROUND, new_interpreter, time_interpreters
from scarlet_tf.progress import progress_bar


def benchmark(
    files: Sequence, threads: int = 1, rounds: int = ROUNDS, seconds_per_round: float = SECONDS_PER_ROUND
) -> list[dict[str, Any]]:
    """One row a file, in plain JSON types.

    file, bytes, milliseconds (median of all runs of one image), deviation (median absolute deviation, ms), runs, ratio
    (to the first file: the median of the rounds' ratios), multiply_adds and milliseconds_per_100m (None where the file's
    metadata do not state its multiply-adds), partitions. The files take turns, `rounds` times `seconds_per_round` each.
    InputError when a file is missing, torn or not runnable.
    """
    paths = [pathlib.Path(file) for file in files]
    descriptions = [describe_tflite(path) for path in paths]
    with quiet():
        interpreters = [new_interpreter(path.read_bytes(), threads) for path in paths]
    with progress_bar("benchmark", rounds * len(paths)) as bar:
        timings = time_interpreters(interpreters, rounds, seconds_per_round, bar.advance)
    rows = []
    for path, description, interpreter, timing in zip(paths, descriptions, interpreters, timings, strict=True):
        multiply_adds = (description["metadata"] or {}).get("multiply_adds")
        rows.append(
            {
                "file": str(path),
                "bytes": description["bytes"],
                "milliseconds": timing.milliseconds,
                "deviation": timing.deviation,
                "runs": timing.num_runs,
                "ratio": timing.ratio(timings[0]),
                "multiply_adds": multiply_adds,
                "milliseconds_per_100m": 1e8 * timing.milliseconds / multiply_adds if multiply_adds else None,
                "partitions": flatbuffer.count_partitions(interpreter),
            }
        )
    return rows
