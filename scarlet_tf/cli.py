"""The `scarlet` command: parses, calls the library, prints.

Exit codes: 0 success, 1 failure (the traceback is in run.log), 2 bad input, 130 interrupted.
TensorFlow is imported only by the commands that need it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
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
from scarlet_tf.cluster import is_writer
from scarlet_tf.errors import ChecksFailedError, InputError
from scarlet_tf.report.comparison import print_comparison
from scarlet_tf.report.summary import all_checks, print_benchmark, print_figures, print_summary, print_verification

_STAGE_HELP = {
    "train-supernet": "train the supernet fairly (stage 1 of 4)",
    "search": "search the trained supernet (stage 2)",
    "retrain": "train the picked network on its own (stage 3)",
    "optimize": "train on with 8-bit rounding, prune, or both, as `optimization` asks (between stages 3 and 4)",
    "export": "fold, export and verify the retrained network (stage 4)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    logs.open_closed_streams()
    logs.quiet_frameworks()
    arguments = make_parser().parse_args(argv)
    logs.log_to_terminal()
    try:
        arguments.handler(arguments)
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


# -- parsing ---------------------------------------------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command; each command's --help ends with an example."""
    parser = argparse.ArgumentParser(
        prog="scarlet",
        description="From a dataset and a budget to the best compact vision network for a phone.",
        epilog="example: scarlet run configs/digits.yaml",
    )
    version = importlib.metadata.version("scarlet_tf")
    parser.add_argument("--version", action="version", version=f"scarlet {version}")
    parser.set_defaults(log=None)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    for name, text in _STAGE_HELP.items():
        _add_stage(commands, name, text)
    _add_rank(commands)
    _add_cost(commands)
    _add_verify(commands)
    _add_benchmark(commands)
    _add_latency(commands)
    return parser


def _add_command(commands, name: str, text: str, example: str, handler) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=f"example: {example}"
    )
    command.add_argument("--json", action="store_true", help="print the figures as one JSON object and nothing else")
    command.set_defaults(handler=handler)
    return command


def _add_run(commands) -> None:
    example = "scarlet run configs/digits.yaml --set search.generations=5"
    command = _add_command(commands, "run", "run every stage in order; started again, it resumes", example, _run)
    _add_config(command, required=False)
    _add_max_hours(command, "each of the two trainings, of the supernet and of the picked network, and the search")
    _add_adb(command)


def _add_stage(commands, name: str, text: str) -> None:
    example = f"scarlet {name} configs/digits.yaml --run-dir runs/digits"
    command = _add_command(commands, name, text, example, _stage)
    command.set_defaults(stage=name, max_hours=None, adb=None, benchmark_model=None)
    _add_config(command, required=True)
    if name == "search":
        _add_compare(command)
    if name in ("search", "export"):
        _add_adb(command)
    if name in ("train-supernet", "retrain"):
        _add_max_hours(command, "training")
    if name == "search":
        command.add_argument(
            "--max-hours",
            type=float,
            metavar="H",
            help="the search ends within H hours, behind the group of models in hand (search.evaluation_group), with the best so"
            " far; 0 takes what was evaluated already; the same command without it goes on",
        )


def _add_compare(command: argparse.ArgumentParser) -> None:
    command.set_defaults(handler=_search)
    group = command.add_argument_group(
        "comparison", "hypervolume against evaluations of several searches, in compare/ of the run folder; resumable"
    )
    group.add_argument("--compare", action="store_true", help="compare searches instead of running the run's own")
    group.add_argument("--seeds", type=int, nargs="+", metavar="N", help="of the searches (default: 0 1 2)")
    group.add_argument(
        "--algorithms",
        nargs="+",
        metavar="NAME",
        help="some of random, nsga2_plain, nsga2 (as configured), keras_tuner_random, keras_tuner_bayesian (default: all but"
        " the last, whose trials take longer the more there were)",
    )
    group.add_argument(
        "--evaluations", type=int, metavar="N", help="of each search (default: population_size * generations)"
    )


def _add_rank(commands) -> None:
    text = "measure how well the supernet orders networks, by training some of them on their own; resumable"
    command = _add_command(commands, "rank", text, "scarlet rank configs/digits.yaml --run-dir runs/digits", _rank)
    command.set_defaults(max_hours=None)
    _add_config(command, required=False)


def _add_config(command: argparse.ArgumentParser, required: bool) -> None:
    command.add_argument("config", metavar="CONFIG", help="a YAML file, such as configs/digits.yaml")
    default = "" if required else " (default: runs/<name of the config file>)"
    command.add_argument("--run-dir", metavar="DIR", required=required, help=f"folder of the run's files{default}")
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        action="append",
        default=[],
        help="override one value of the config, such as search.generations=5; may be repeated",
    )


def _add_max_hours(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--max-hours",
        type=float,
        metavar="H",
        help=f"{what} ends within H hours of its start, a training behind the last whole epoch that fits; the learning rate's"
        " schedule is not rescaled",
    )


def _add_cost(commands) -> None:
    example = "scarlet cost scarlet_a; scarlet cost 0,1,2,... --space s1 --input-size 192 --classes 10"
    command = _add_command(commands, "cost", "count multiply-adds and parameters of a network", example, _cost)
    command.add_argument(
        "network", metavar="ARCH|ZOO_NAME", help="choices such as 4,8,2,..., or a name such as scarlet_a"
    )
    command.add_argument("--space", help="s1, s2 (default), or the YAML file of a space of your own")
    command.add_argument(
        "--input-size", type=int, metavar="PIXELS", help="side of the image (default: the space's, 224)"
    )
    command.add_argument("--classes", type=int, default=1000, help="classes of the classifier (default: 1000)")


def _add_verify(commands) -> None:
    example = "scarlet verify runs/digits; scarlet verify runs/digits/export/model_int8.tflite"
    text = (
        "compute a run's figures again and compare them with its certificate, or compare single files with the Keras network"
        " they came from, on the run's test images; exit code 1 where a check fails"
    )
    command = _add_command(commands, "verify", text, example, _verify)
    command.add_argument(
        "files", metavar="RUN|FILE", nargs="+", help="a run folder, or .tflite files and SavedModels of one"
    )
    command.add_argument(
        "--run-dir", metavar="DIR", help="the run that files belong to (default: the folder they lie in)"
    )
    command.add_argument(
        "--digests-only", action="store_true", help="of a run: compare the files' SHA-256 alone, which needs no dataset"
    )


def _add_benchmark(commands) -> None:
    example = "scarlet benchmark runs/digits/export/model_*.tflite"
    text = "time .tflite files side by side with LiteRT: on this host, taking turns, or on a phone"
    command = _add_command(commands, "benchmark", text, example, _benchmark)
    command.add_argument("files", metavar="FILE", nargs="+", help="a .tflite file; ratios are over the first one")
    command.add_argument("--threads", type=int, default=1, help="of LiteRT (default: 1)")
    command.add_argument("--rounds", type=int, default=10, help="turns of each file (default: 10)")
    command.add_argument(
        "--seconds", type=float, default=0.1, metavar="S", help="that a file runs in each turn (default: 0.1)"
    )
    command.set_defaults(quantization="none")
    _add_adb(command)


def _add_latency(commands) -> None:
    text = "measure a space's parts with LiteRT, here or on a phone, or predict a network from such a table"
    latency = commands.add_parser("latency", help=text, description=text[0].upper() + text[1:] + ".")
    actions = latency.add_subparsers(metavar="ACTION", required=True)
    text = "measure every part of a space; started again, it continues"
    build = _add_command(actions, "build", text, "scarlet latency build --space s2 --out s2.json", _latency_build)
    _add_space(build)
    build.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the image (default: the space's)")
    build.add_argument("--classes", type=int, default=1000, help="classes of the classifier (default: 1000)")
    build.add_argument("--threads", type=int, default=1, help="of LiteRT (default: 1)")
    build.add_argument(
        "--quantization",
        default="none",
        metavar="NAME",
        help="of the files: none (float32, the default), float16, dynamic, int8 or full_int8",
    )
    build.add_argument(
        "--networks",
        type=int,
        metavar="N",
        help="measured whole, to correct the table and to say how far off it is (default: 10; 0: none)",
    )
    build.add_argument("--passes", type=int, metavar="N", help="over all parts; the fastest counts (default: 5)")
    build.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="the table, YAML if it ends in .yaml or .yml, else JSON; `search.table` of a config names it",
    )
    _add_adb(build)
    text, example = "predict a network's figures", "scarlet latency predict scarlet_a --table s2.json"
    predict = _add_command(actions, "predict", text, example, _latency_predict)
    predict.add_argument(
        "network", metavar="ARCH|ZOO_NAME", help="choices such as 4,8,2,..., or a name such as scarlet_a"
    )
    _add_space(predict)
    predict.add_argument("--table", metavar="FILE", required=True, help="from `scarlet latency build`")


def _add_adb(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("on a phone", "over adb; tested against a stand-in for it, on no device yet")
    group.add_argument(
        "--adb",
        nargs="?",
        const="",
        metavar="SERIAL",
        help="measure latencies on this Android device, or on the only one there is",
    )
    group.add_argument(
        "--benchmark-model",
        metavar="PATH",
        help="TFLite's benchmark_model for the device: a file here, which is copied there, or its path on the device (default:"
        " /data/local/tmp/benchmark_model)",
    )


def _add_space(command: argparse.ArgumentParser) -> None:
    either = command.add_mutually_exclusive_group()
    either.add_argument(
        "--space", help="s1, s2 (default), or the YAML file of a space of your own; a zoo network brings its own"
    )
    either.add_argument("--config", metavar="CONFIG", help="the YAML file of a run, whose space is meant")


# -- commands --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _run_folder(arguments: argparse.Namespace) -> Iterator[tuple]:
    """(config, run folder) once every mistake in the config, or in the choice of the folder, has been found.

    Inside the block, log lines and whatever libraries print go to the folder's run.log.
    """
    _check_hours(arguments.max_hours, least=0 if getattr(arguments, "stage", None) == "search" else None)
    with logs.NativeLines() as native:
        from scarlet_tf.config import check_run_dir, load_config

        config = load_config(arguments.config, arguments.overrides)
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

    figures = cost_figures(arguments.network, arguments.space, arguments.input_size, arguments.classes)
    _show(arguments, figures, lambda figures: print("\n".join(cost_lines(figures))))


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


if __name__ == "__main__":
    sys.exit(main())
