"""The `scarlet` command: parses, calls the library, prints.

Exit codes: 0 success, 1 failure (the traceback is in run.log), 2 bad input, 130 interrupted.
TensorFlow is imported only by the commands that need it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import math
import os
import pathlib
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

from scarlet_tf import logs
from scarlet_tf.arguments import make_parser
from scarlet_tf.cluster import is_writer
from scarlet_tf.errors import ChecksFailedError, InputError
from scarlet_tf.report.comparison import print_comparison
from scarlet_tf.report.summary import all_checks, print_benchmark, print_figures, print_summary, print_verification


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    logs.open_closed_streams()
    logs.quiet_frameworks()
    arguments = make_parser().parse_args(argv)
    logs.log_to_terminal()
    try:
        HANDLERS[arguments.handler](arguments)
        return 0
    except InputError as error:
        _complain(f"error: {error}")
        return 2
    except ChecksFailedError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        resume = f"; the same command resumes: {shlex.join(['scarlet', *argv])}" if arguments.log else ""
        _complain(f"interrupted{resume}")
        return 130
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if arguments.log:
            _complain(f"failed: {reason}; the traceback is in {arguments.log}")
        else:
            traceback.print_exc()
        return 1


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone; the exit code remains
        print(f"scarlet: {text}", file=sys.stderr, flush=True)


def _load_config(arguments: argparse.Namespace):
    from scarlet_tf.config import load_config

    return load_config(arguments.config, arguments.overrides)


@contextlib.contextmanager
def _run_folder(arguments: argparse.Namespace, load: Callable = _load_config) -> Iterator[tuple]:
    """(config, run folder) once every mistake in the config, or in the choice of the folder, has been found.

    `load` makes the config out of the arguments. Inside the block, log lines and whatever libraries print go to the
    folder's run.log.
    """
    _check_hours(arguments.max_hours, least=0 if getattr(arguments, "stage", None) == "search" else None)
    with logs.NativeLines() as native:
        from scarlet_tf.config import check_run_dir

        config = load(arguments)
        run_dir = pathlib.Path(arguments.run_dir or pathlib.Path("runs") / pathlib.Path(arguments.config).stem)
        check_run_dir(run_dir, config)
        if not is_writer(getattr(arguments, "stage", "")):  # of several workers one writes
            yield config, run_dir
            return
        with logs.log_to_file(run_dir / "run.log"):
            arguments.log = run_dir / "run.log"
            native.send_to(arguments.log)
            yield config, run_dir


def _check_hours(hours: float | None, least: float | None = None) -> None:
    if hours is not None and not (0 < hours < math.inf or hours == least):
        raise InputError(f"--max-hours: expected a number {'> 0' if least is None else '>= 0'}, got {hours!r}")


def _run(arguments: argparse.Namespace) -> None:
    with _run_folder(arguments) as (config, run_dir):
        from scarlet_tf import pipeline

        summary = pipeline.run_all(config, run_dir, max_hours=arguments.max_hours, adb=_adb(arguments))
    _show(arguments, summary, print_summary)


def _stage(arguments: argparse.Namespace) -> None:
    with _run_folder(arguments) as (config, run_dir):
        from scarlet_tf import pipeline

        options = {"max_hours": arguments.max_hours, "adb": _adb(arguments)}
        figures = pipeline.run_stage(arguments.stage, config, run_dir, arguments.config, **options)
    if is_writer(arguments.stage):
        _show(arguments, figures, functools.partial(print_figures, arguments.stage))


_FINETUNE_KEYS = {
    "weights": "finetune.weights",
    "image_size": "data.image_size",
    "epochs": "finetune.epochs",
    "batch_size": "finetune.batch_size",
    "learning_rate": "finetune.learning_rate",
    "freeze_bn": "finetune.freeze_bn",
    "train_from": "finetune.train_from",
    "rate_decay": "finetune.rate_decay",
}


def _finetune_config(arguments: argparse.Namespace):
    from scarlet_tf.config import finetune_config

    given = {key: getattr(arguments, name) for name, key in _FINETUNE_KEYS.items()}
    settings = {key: value for key, value in given.items() if value is not None}
    if "finetune.weights" in settings:
        settings["finetune.weights"] = str(pathlib.Path(arguments.weights).resolve())
    if arguments.data is not None:
        # So that the run folder serves from everywhere; what is not there may lie under $SCARLET_DATA_DIR.
        data = pathlib.Path(arguments.data)
        settings["data.directory"] = str(data.resolve()) if data.exists() else arguments.data
    return finetune_config(arguments.network, settings, arguments.overrides)


def _finetune(arguments: argparse.Namespace) -> None:
    is_file = arguments.network.endswith((".yaml", ".yml"))
    arguments.config = arguments.network if is_file else arguments.data or arguments.network
    with _run_folder(arguments, _finetune_config) as (config, run_dir):
        from scarlet_tf import pipeline

        summary = pipeline.run_all(config, run_dir, max_hours=arguments.max_hours)
    _show(arguments, summary, print_summary)


def _search(arguments: argparse.Namespace) -> None:
    options = {name: getattr(arguments, name) for name in ("algorithms", "seeds", "evaluations")}
    given = {name: value for name, value in options.items() if value is not None}
    if not arguments.compare:
        if given:
            raise InputError(f"--{next(iter(given))}: expected --compare with it")
        _stage(arguments)
        return
    if arguments.max_hours is not None:
        raise InputError("--max-hours: expected none with --compare, which goes on where it was interrupted")
    with _run_folder(arguments) as (config, run_dir):
        from scarlet_tf import pipeline

        figures = pipeline.run_comparison(config, run_dir, arguments.config, **given)
    _show(arguments, figures, print_comparison)


def _rank(arguments: argparse.Namespace) -> None:
    with _run_folder(arguments) as (config, run_dir):
        from scarlet_tf import pipeline

        figures = pipeline.run_ranking(config, run_dir)
    _show(arguments, figures, lambda all_: print_figures("rank", {k: v for k, v in all_.items() if k != "settings"}))


def _report(arguments: argparse.Namespace) -> None:
    with logs.NativeLines(), contextlib.redirect_stdout(io.StringIO()):
        from scarlet_tf.pipeline.reporting import write_report

        path = write_report(arguments.run_dir, arguments.output)
    _show(arguments, {"report": str(path), "bytes": path.stat().st_size}, lambda figures: print(figures["report"]))


def _verify(arguments: argparse.Namespace) -> None:
    with logs.NativeLines(), contextlib.redirect_stdout(io.StringIO()):
        from scarlet_tf import pipeline

        if any(map(pipeline.is_run, arguments.files)):
            results = _verify_run(arguments)
        else:
            if arguments.digests_only:
                raise InputError("--digests-only: expected a run folder with it")
            results = pipeline.verify_files(arguments.files, arguments.run_dir)
    _show(arguments, results, print_verification)
    failed = [check for check in all_checks(results) if not check["passed"]]
    if failed:
        raise ChecksFailedError(f"{len(failed)} of {len(all_checks(results))} checks failed")


def _verify_run(arguments: argparse.Namespace) -> dict:
    from scarlet_tf import pipeline

    if len(arguments.files) > 1 or arguments.run_dir:
        raise InputError("verify: expected one run folder, or files of one, not both")
    return pipeline.verify_run(arguments.files[0], arguments.digests_only)


def _benchmark(arguments: argparse.Namespace) -> None:
    with logs.NativeLines(), contextlib.redirect_stdout(io.StringIO()):
        from scarlet_tf.export.benchmark import benchmark

        options = arguments.threads, arguments.rounds, arguments.seconds
        rows = benchmark(arguments.files, *options, phone=_device_runner(arguments))
    _show(arguments, rows, print_benchmark)


def _space(arguments: argparse.Namespace):
    if arguments.config:
        from scarlet_tf.config import load_config

        return load_config(arguments.config).space
    from scarlet_tf.report.costs import named_space

    return named_space(arguments.space or "s2")


def _latency_build(arguments: argparse.Namespace) -> None:
    with logs.NativeLines(), contextlib.redirect_stdout(io.StringIO()):
        from scarlet_tf.export.latency import build_latency_table
        from scarlet_tf.report.latency import lines, table_figures

        place = (arguments.input_size, arguments.classes, arguments.threads)
        given = {name: getattr(arguments, name) for name in ("quantization", "passes", "networks")}
        options = {name: value for name, value in given.items() if value is not None}
        table = build_latency_table(
            _space(arguments), arguments.out, *place, **options, runner=_device_runner(arguments)
        )
    _show(arguments, table_figures(table), lambda figures: print("\n".join(lines(figures))))


def _latency_predict(arguments: argparse.Namespace) -> None:
    with logs.NativeLines(), contextlib.redirect_stdout(io.StringIO()):
        from scarlet_tf.metric_table import MetricTable
        from scarlet_tf.report.costs import find_network
        from scarlet_tf.report.latency import lines, prediction

        space = _space(arguments) if arguments.config else arguments.space
        architecture = find_network(arguments.network, space)
        figures = prediction(architecture, MetricTable.load(arguments.table, architecture.space))
    _show(arguments, figures, lambda figures: print("\n".join(lines(figures))))


def _adb(arguments: argparse.Namespace) -> dict | None:
    """Which phone --adb names, as an AdbRunner takes it; None without it."""
    if arguments.adb is None and arguments.benchmark_model is not None:
        raise InputError("--benchmark-model: expected --adb with it")
    if arguments.adb is None:
        return None
    return {"serial": arguments.adb or None, "benchmark_model": arguments.benchmark_model}


def _device_runner(arguments: argparse.Namespace):
    adb = _adb(arguments)
    if adb is None:
        return None
    from scarlet_tf.export.adb import AdbRunner

    return AdbRunner(**adb, threads=arguments.threads, quantization=arguments.quantization)


def _cost(arguments: argparse.Namespace) -> None:
    from scarlet_tf.report.costs import cost_figures, cost_lines

    multipliers = (arguments.width_multiplier, arguments.depth_multiplier, arguments.resolution_multiplier)
    figures = cost_figures(arguments.network, arguments.space, arguments.input_size, arguments.classes, *multipliers)
    _show(arguments, figures, lambda figures: print("\n".join(cost_lines(figures))))


def _zoo(arguments: argparse.Namespace) -> None:
    from scarlet_tf.report import zoo

    if arguments.pick is not None and not arguments.add:
        raise InputError("--pick: expected --add with it")
    name = arguments.network
    for option in ("add", "remove", "scale"):
        if getattr(arguments, option) and name is None:
            raise InputError(f"--{option}: expected a network's NAME with it")
    if arguments.scale:
        _show(arguments, zoo.scaled_figures(name), zoo.print_scaled)
        return
    if arguments.remove:
        from scarlet_tf.models.zoo_folder import remove_own

        remove_own(name)
        _show(arguments, {"removed": name}, lambda figures: print(f"removed {name}"))
        return
    if arguments.add:
        _register(arguments)
    if name is None:
        _show(arguments, zoo.zoo_figures(), zoo.print_zoo)
    else:
        _show(arguments, zoo.network_figures(name), lambda figures: print("\n".join(zoo.network_lines(figures))))


def _register(arguments: argparse.Namespace) -> None:
    with logs.NativeLines(), contextlib.redirect_stdout(io.StringIO()):
        from scarlet_tf.pipeline.registering import register_network

        register_network(arguments.network, arguments.add, arguments.pick)


def _show(arguments: argparse.Namespace, figures, show: Callable) -> None:
    """Prints the figures. A reader that went away, as `head` does, has seen what it wanted: that is no failure."""
    try:
        if arguments.json:
            print(json.dumps(figures, allow_nan=False))
        else:
            show(figures)
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # what is still buffered is written at Python's end, which would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise InputError(f"standard output: could not be written: {error.strerror or error}") from error


HANDLERS = {
    "benchmark": _benchmark,
    "cost": _cost,
    "finetune": _finetune,
    "latency_build": _latency_build,
    "latency_predict": _latency_predict,
    "rank": _rank,
    "report": _report,
    "run": _run,
    "search": _search,
    "stage": _stage,
    "verify": _verify,
    "zoo": _zoo,
}

if __name__ == "__main__":
    sys.exit(main())
