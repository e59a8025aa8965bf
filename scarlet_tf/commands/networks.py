"""Commands that state or check figures of networks and files."""

from __future__ import annotations

import argparse

from scarlet_tf import host
from scarlet_tf.arguments.common import adb_options
from scarlet_tf.commands.terminal import library_lines_held_back, say, show
from scarlet_tf.errors import ChecksFailedError, InputError
from scarlet_tf.report.summary import all_checks, print_benchmark, print_verification


def verify(arguments: argparse.Namespace) -> None:
    """Compute figures of a run or of files again; ChecksFailedError if they differ."""
    host.check()
    with library_lines_held_back(arguments):
        from scarlet_tf.run import is_run, verify_files

        if any(map(is_run, arguments.files)):
            results = _verify_run(arguments)
        else:
            if arguments.digests_only:
                raise InputError("--digests-only: expected a run folder with it")
            results = verify_files(arguments.files, arguments.run_dir)
    show(arguments, results, print_verification)
    failed = [check for check in all_checks(results) if not check["passed"]]
    if failed:
        raise ChecksFailedError(f"{len(failed)} of {len(all_checks(results))} checks failed")


def _verify_run(arguments: argparse.Namespace) -> dict:
    from scarlet_tf.run import verify_run

    if len(arguments.files) > 1 or arguments.run_dir:
        raise InputError("verify: expected one run folder, or files of one, not both")
    return verify_run(arguments.files[0], arguments.digests_only)


def benchmark(arguments: argparse.Namespace) -> None:
    """Time files side by side."""
    with library_lines_held_back(arguments):
        from scarlet_tf.latency.benchmark import benchmark

        options = arguments.threads, arguments.rounds, arguments.seconds
        rows = benchmark(arguments.files, *options, phone=_phone_runner(arguments))
    show(arguments, rows, print_benchmark)


def _phone_runner(arguments: argparse.Namespace):
    """The runner on the phone that --adb names; None without it."""
    adb = adb_options(arguments)
    if adb is None:
        return None
    from scarlet_tf.latency.adb import AdbRunner

    return AdbRunner(**adb, threads=arguments.threads, quantization=arguments.quantization)


def _space(arguments: argparse.Namespace):
    if arguments.config:
        from scarlet_tf.config import load_config

        return load_config(arguments.config).space
    from scarlet_tf.report.costs import named_space

    return named_space(arguments.space or "s2")


def latency_build(arguments: argparse.Namespace) -> None:
    """Measure a space's parts."""
    host.check()
    with library_lines_held_back(arguments):
        from scarlet_tf.latency.table import build_latency_table
        from scarlet_tf.report.costs import latency_lines, table_figures

        place = (arguments.input_size, arguments.classes, arguments.threads)
        given = {name: getattr(arguments, name) for name in ("quantization", "passes", "networks")}
        options = {name: value for name, value in given.items() if value is not None}
        table = build_latency_table(
            _space(arguments), arguments.out, *place, **options, runner=_phone_runner(arguments)
        )
    show(arguments, table_figures(table), lambda figures: say("\n".join(latency_lines(figures))))


def latency_predict(arguments: argparse.Namespace) -> None:
    """A network's figures by a table."""
    with library_lines_held_back(arguments):
        from scarlet_tf.metric_table import MetricTable
        from scarlet_tf.report.costs import find_network, latency_lines, prediction

        space = _space(arguments) if arguments.config else arguments.space
        architecture = find_network(arguments.network, space)
        figures = prediction(architecture, MetricTable.load(arguments.table, architecture.space))
    show(arguments, figures, lambda figures: say("\n".join(latency_lines(figures))))


def cost(arguments: argparse.Namespace) -> None:
    """Multiply-adds and parameters of a network."""
    from scarlet_tf.report.costs import cost_figures, cost_lines

    multipliers = (arguments.width_multiplier, arguments.depth_multiplier, arguments.resolution_multiplier)
    figures = cost_figures(arguments.network, arguments.space, arguments.input_size, arguments.classes, *multipliers)
    show(arguments, figures, lambda figures: say("\n".join(cost_lines(figures))))


def zoo(arguments: argparse.Namespace) -> None:
    """Networks by name: the list, one in detail, adding and removing."""
    from scarlet_tf.report import zoo

    if arguments.pick is not None and not arguments.add:
        raise InputError("--pick: expected --add with it")
    name = arguments.network
    for option in ("add", "remove", "scale"):
        if getattr(arguments, option) and name is None:
            raise InputError(f"--{option}: expected a network's NAME with it")
    if arguments.scale:
        show(arguments, zoo.scaled_figures(name), zoo.print_scaled)
        return
    if arguments.remove:
        from scarlet_tf.models.zoo_folder import remove_own

        remove_own(name)
        show(arguments, {"removed": name}, lambda figures: say(f"removed {name}"))
        return
    if arguments.add:
        _register(arguments)
    if name is None:
        show(arguments, zoo.zoo_figures(), zoo.print_zoo)
    else:
        show(arguments, zoo.network_figures(name), lambda figures: say("\n".join(zoo.network_lines(figures))))


def _register(arguments: argparse.Namespace) -> None:
    with library_lines_held_back(arguments):
        from scarlet_tf.run.networks import register_network

        register_network(arguments.network, arguments.add, arguments.pick)
