"""Accuracy of a latency table's predictions for networks that are measured whole.

    python tools/bench_latency.py
    python tools/bench_latency.py --space s2 --input-size 224 --classes 1000

Builds the table of a space as `scarlet latency build` does, draws random stand-alone networks that it has not seen,
measures each whole and compares. Prints one JSON object as its last line: the errors of the table's predictions,
median_absolute_error and spearman among them, and under "sum" those of the parts' sums before networks corrected them;
"left_out" is the table's own estimate of its error. Errors are shares of the measured latency. On a machine with other
work, `chrt -f 50 taskset -c 1` in front keeps that work out of the figures, save what it takes of memory and caches.
"""

from __future__ import annotations

import functools
import pathlib
import tempfile
import time

import numpy as np

from measuring import parse, report
from scarlet_tf.cli.cost import named_space
from scarlet_tf.config import load_config
from scarlet_tf.latency.correction import errors
from scarlet_tf.latency.measuring import PASSES, Measurements, network_content
from scarlet_tf.latency.table import NETWORKS, SECONDS_PER_PART, build_latency_table, choose_networks
from scarlet_tf.latency.timing import HostRunner
from scarlet_tf.space.metric_table import MetricTable
from scarlet_tf.space.search_space import Architecture, SearchSpace


def main() -> None:
    """Build the table, measure the networks, compare."""
    arguments = parse(
        __doc__,
        space=("s1", "s1 (default), s2, or the YAML file of a space"),
        config=(None, "the YAML file of a run, whose space and size are meant instead"),
        input_size={"type": int, "help": "pixels (default: the space's)"},
        classes=1000,
        networks=(30, "measured whole, to compare with"),
        threads=1,
        passes=PASSES,
        calibration=(NETWORKS, "networks that the table is corrected by"),
        quantization="none",
        seed=(1, "of the networks to compare with"),
    )
    space = load_config(arguments.config).space if arguments.config else named_space(arguments.space)
    with tempfile.TemporaryDirectory() as folder:
        report("latency", **measure(space, pathlib.Path(folder), arguments))


def measure(space: SearchSpace, folder: pathlib.Path, arguments) -> dict:
    """The figures of one space."""
    started, quantization = time.perf_counter(), arguments.quantization
    place = (arguments.input_size or space.input_size, arguments.classes)
    runner = HostRunner(arguments.threads, quantization, SECONDS_PER_PART)
    options = {"passes": arguments.passes, "networks": arguments.calibration, "runner": runner}
    table = build_latency_table(space, folder / "table.json", *place, quantization=quantization, **options)
    seconds = time.perf_counter() - started
    networks = draw(space, arguments.networks, choose_networks(space, *place, arguments.calibration), arguments.seed)
    measurements = Measurements(folder / "networks.json", {})
    files = {one.to_string(): functools.partial(network_content, one, *place, quantization) for one in networks}
    measurements.measure(files, runner, arguments.passes, "networks")
    measured = [measurements.of(one.to_string()).milliseconds for one in networks]
    figures = {"space": space.name, "input_size": place[0], "threads": arguments.threads, "quantization": quantization}
    figures |= {"parts": len(table.entries), "networks": len(networks)}
    return {
        **figures,
        "milliseconds": [round(value, 4) for value in (min(measured), float(np.median(measured)), max(measured))],
        **errors(predictions(table, networks), measured),
        "sum": errors(predictions(uncorrected(table), networks), measured),
        "left_out": table.details.get("calibration", {}).get("left_out"),
        "table_seconds": round(seconds, 1),
        "seconds": round(time.perf_counter() - started, 1),
    }


def draw(space: SearchSpace, count: int, known, seed: int) -> list[Architecture]:
    """Different random networks, none of them `known`."""
    rng = np.random.default_rng(seed)
    found: dict = {}
    while len(found) < count:
        architecture = space.sample(rng)
        if architecture not in known:
            found[architecture.choices] = architecture
    return list(found.values())


def predictions(table: MetricTable, networks) -> list[float]:
    """Predicted milliseconds."""
    return table.sums(np.array([one.choices for one in networks]))["latency_ms"].tolist()


def uncorrected(table: MetricTable) -> MetricTable:
    """The table from the measurements of its parts alone."""
    measured = table.details["measured"]
    idle = measured["idle"][0]
    return table.with_metric(
        "latency_ms", {key: max(0.0, measured[key][0] - idle) if key in measured else 0.0 for key in table.entries}
    )


if __name__ == "__main__":
    main()
