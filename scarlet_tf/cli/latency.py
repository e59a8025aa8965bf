"""`scarlet benchmark` and `scarlet latency`: times of files and of a space's parts, here or on a phone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import scarlet_tf as st
from scarlet_tf.base import host
from scarlet_tf.cli.cost import find_network, named_space
from scarlet_tf.cli.output import library_lines_held_back, print_table, say, show
from scarlet_tf.cli.parsing import adb_options, add_adb, add_command, add_options

if TYPE_CHECKING:
    from scarlet_tf.space.metric_table import MetricTable


def add(commands) -> None:
    """Add the commands."""
    example = "scarlet benchmark runs/digits/export/model_*.tflite"
    text = "time .tflite files side by side with LiteRT: on this host, taking turns, or on a phone"
    command = add_command(commands, "benchmark", text, example, benchmark)
    command.add_argument("files", metavar="FILE", nargs="+", help="a .tflite file; ratios are over the first one")
    add_options(
        command,
        ("--threads", int, None, 1, "of LiteRT (default: 1)"),
        ("--rounds", int, None, 10, "turns of each file (default: 10)"),
        ("--seconds", float, "S", 0.1, "that a file runs in each turn (default: 0.1)"),
    )
    command.set_defaults(quantization="none")
    add_adb(command)
    text = "measure a space's parts with LiteRT, here or on a phone, or predict a network from such a table"
    latency = commands.add_parser("latency", help=text, description=text[0].upper() + text[1:] + ".")
    actions = latency.add_subparsers(metavar="ACTION", required=True)
    _add_build(actions)
    _add_predict(actions)


def _add_build(actions) -> None:
    text = "measure every part of a space; started again, it continues"
    build = add_command(actions, "build", text, "scarlet latency build --space s2 --out s2.json", latency_build)
    _add_space(build)
    quantization = "of the files: none (float32, the default), float16, dynamic, int8 or full_int8"
    networks = "measured whole, to correct the table and to say how far off it is (default: 10; 0: none)"
    add_options(
        build,
        ("--input-size", int, "PIXELS", None, "side of the image (default: the space's)"),
        ("--classes", int, None, 1000, "classes of the classifier (default: 1000)"),
        ("--threads", int, None, 1, "of LiteRT (default: 1)"),
        ("--quantization", str, "NAME", "none", quantization),
        ("--networks", int, "N", None, networks),
        ("--passes", int, "N", None, "over all parts; the fastest counts (default: 5)"),
    )
    text = "the table, YAML if it ends in .yaml or .yml, else JSON; `search.table` of a config names it"
    build.add_argument("--out", metavar="FILE", required=True, help=text)
    add_adb(build)


def _add_predict(actions) -> None:
    text, example = "predict a network's figures", "scarlet latency predict scarlet_a --table s2.json"
    predict = add_command(actions, "predict", text, example, latency_predict)
    text = "choices such as 4,8,2,..., or a name such as scarlet_a"
    predict.add_argument("network", metavar="ARCH|ZOO_NAME", help=text)
    _add_space(predict)
    predict.add_argument("--table", metavar="FILE", required=True, help="from `scarlet latency build`")


def _add_space(command: argparse.ArgumentParser) -> None:
    """Add --space and --config; either names a space."""
    either = command.add_mutually_exclusive_group()
    text = "s1, s2 (default), or the YAML file of a space of your own; a zoo network brings its own"
    either.add_argument("--space", help=text)
    either.add_argument("--config", metavar="CONFIG", help="the YAML file of a run, whose space is used")


def _space(arguments: argparse.Namespace) -> st.SearchSpace:
    if arguments.config:
        from scarlet_tf.config import load_config

        return load_config(arguments.config).space
    return named_space(arguments.space or "s2")


def _phone_runner(arguments: argparse.Namespace):
    """The runner on the phone that --adb names; None without it."""
    adb = adb_options(arguments)
    if adb is None:
        return None
    from scarlet_tf.latency.adb import AdbRunner

    return AdbRunner(**adb, threads=arguments.threads, quantization=arguments.quantization)


def benchmark(arguments: argparse.Namespace) -> None:
    """Time files side by side."""
    with library_lines_held_back(arguments):
        from scarlet_tf.latency import benchmark

        options = arguments.threads, arguments.rounds, arguments.seconds
        rows = benchmark.benchmark(arguments.files, *options, phone=_phone_runner(arguments))
    show(arguments, rows, print_benchmark)


def print_benchmark(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one line per timed file."""
    cells = [
        (
            row["file"],
            f"{row['milliseconds']:.4g}",
            f"{row['deviation']:.2g}",
            f"{row['ratio']:.3f}",
            "-" if row["milliseconds_per_100m"] is None else f"{row['milliseconds_per_100m']:.3g}",
            f"{row['bytes'] / 1024:.1f}",
            str(row["partitions"]),
        )
        for row in rows
    ]
    print_table(cells, ("file", "ms", "MAD", "ratio", "ms / 100 M", "KiB", "parts"))
    say("median and median absolute deviation of one image; per 100 M multiply-adds; delegate partitions")


def latency_build(arguments: argparse.Namespace) -> None:
    """Measure a space's parts."""
    host.check()
    with library_lines_held_back(arguments):
        from scarlet_tf.latency.table import build_latency_table

        place = (arguments.input_size, arguments.classes, arguments.threads)
        given = {name: getattr(arguments, name) for name in ("quantization", "passes", "networks")}
        options = {name: value for name, value in given.items() if value is not None}
        table = build_latency_table(
            _space(arguments), arguments.out, *place, **options, runner=_phone_runner(arguments)
        )
    show(arguments, table_figures(table), latency_lines)


def latency_predict(arguments: argparse.Namespace) -> None:
    """Predict a network's figures from a table."""
    with library_lines_held_back(arguments):
        from scarlet_tf.space.metric_table import MetricTable

        space = _space(arguments) if arguments.config else arguments.space
        architecture = find_network(arguments.network, space)
        figures = prediction(architecture, MetricTable.load(arguments.table, architecture.space))
    show(arguments, figures, latency_lines)


def prediction(architecture: st.Architecture, table: MetricTable) -> dict[str, Any]:
    """A table's predictions for an architecture, with its costs and the table's error, in plain JSON types."""
    cost = st.count(architecture, table.input_size, table.num_classes)
    predicted = {name: values[0].item() for name, values in table.sums([architecture.choices]).items()}
    return {
        "architecture": architecture.to_string(),
        "input_size": table.input_size,
        "num_classes": table.num_classes,
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
        **predicted,
        **_table_error(table),
        "device": table.device,
    }


def table_figures(table: MetricTable) -> dict[str, Any]:
    """The range of each metric in the table's space, in plain JSON types."""
    bounds = {name: list(bounds) for name, bounds in table.bounds.items()}
    figures = {"table": table.source, "parts": len(table.entries), "reach": bounds}
    return {**figures, **_table_error(table), "device": table.device}


def _table_error(table: MetricTable) -> dict[str, Any]:
    """The table's error: for each network that corrected it, the prediction from the others."""
    calibration = table.details.get("calibration")
    if not isinstance(calibration, Mapping) or not isinstance(calibration.get("left_out"), Mapping):
        return {}
    return {"error": {**calibration["left_out"], "networks": len(calibration.get("networks", ()))}}


def latency_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The figures of a table or of its prediction for people, a line a figure."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield f"{name}: " + ", ".join(f"{key} {inner}" for key, inner in value.items())
        else:
            yield f"{name}: {value:.6g}" if isinstance(value, float) else f"{name}: {value}"
