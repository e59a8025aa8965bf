"""Commands that work in a run folder."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import pathlib
from collections.abc import Callable, Iterator

from scarlet_tf import host, logs, processor
from scarlet_tf.arguments.common import adb_options
from scarlet_tf.cluster import is_writer, read_tf_config
from scarlet_tf.commands.terminal import library_lines_held_back, native_lines, say, show
from scarlet_tf.errors import InputError
from scarlet_tf.files import file_name
from scarlet_tf.report.comparison import print_comparison
from scarlet_tf.report.summary import print_figures, print_summary


def _load_config(arguments: argparse.Namespace):
    from scarlet_tf.config import load_config

    return load_config(arguments.config, arguments.overrides)


@contextlib.contextmanager
def run_folder(arguments: argparse.Namespace, load: Callable = _load_config) -> Iterator[tuple]:
    """(config, run folder) once every mistake in the config, or in the choice of the folder, has been found.

    `load` makes the config from the arguments. Inside the block, log lines and libraries' output go to the
    folder's run.log, as soon as the block has made the folder.
    """
    _check_hours(arguments.max_hours, least=0 if getattr(arguments, "stage", None) == "search" else None)
    host.check()
    with native_lines(arguments) as native:
        from scarlet_tf.config import check_run_dir

        config = load(arguments)
        run_dir = pathlib.Path(
            arguments.run_dir or pathlib.Path("runs") / file_name(pathlib.Path(arguments.config).stem)
        )
        check_run_dir(run_dir, config)
        _check_kernels()
        if not is_writer(getattr(arguments, "stage", "")):  # of several workers, one writes
            yield config, run_dir
            return
        arguments.log = run_dir / "run.log"

        def send_native_lines() -> None:
            if native is not None:
                native.send_to(arguments.log)

        with logs.log_to_file(arguments.log, send_native_lines, first=processor.in_words()):
            yield config, run_dir


def _check_kernels() -> None:
    """Raise InputError if SCARLET_KERNELS names no kernels, or none that work here, before anything is read or written."""
    if not os.environ.get(processor.KERNELS):
        return
    from scarlet_tf.evaluation import kernels

    if kernels.wanted() != "auto" and len(read_tf_config().tasks) < 2:  # TensorFlow configures several at its start
        kernels.route()


def _check_hours(hours: float | None, least: float | None = None) -> None:
    if hours is not None and not (0 < hours < math.inf or hours == least):
        raise InputError(f"--max-hours: expected a number {'> 0' if least is None else '>= 0'}, got {hours!r}")


def run(arguments: argparse.Namespace) -> None:
    """Run every stage in order."""
    with run_folder(arguments) as (config, run_dir):
        from scarlet_tf.run import run_all

        summary = run_all(config, run_dir, max_hours=arguments.max_hours, adb=adb_options(arguments))
    show(arguments, summary, print_summary)


def stage(arguments: argparse.Namespace) -> None:
    """Run one stage."""
    with run_folder(arguments) as (config, run_dir):
        from scarlet_tf.run import run_stage

        options = {"max_hours": arguments.max_hours, "adb": adb_options(arguments)}
        figures = run_stage(arguments.stage, config, run_dir, arguments.config, **options)
    if is_writer(arguments.stage):
        show(arguments, figures, functools.partial(print_figures, arguments.stage))


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
        # So that the run folder works from any directory; a folder that is not there may be under $SCARLET_DATA_DIR.
        data = pathlib.Path(arguments.data)
        settings["data.directory"] = str(data.resolve()) if data.exists() else arguments.data
    return finetune_config(arguments.network, settings, arguments.overrides)


def finetune(arguments: argparse.Namespace) -> None:
    """Train a trained network further and export it."""
    is_file = arguments.network.endswith((".yaml", ".yml"))
    arguments.config = arguments.network if is_file else arguments.data or arguments.network
    with run_folder(arguments, _finetune_config) as (config, run_dir):
        from scarlet_tf.run import run_all

        summary = run_all(config, run_dir, max_hours=arguments.max_hours)
    show(arguments, summary, print_summary)


def search(arguments: argparse.Namespace) -> None:
    """The search, or a comparison of several."""
    options = {name: getattr(arguments, name) for name in ("algorithms", "seeds", "evaluations")}
    given = {name: value for name, value in options.items() if value is not None}
    if not arguments.compare:
        if given:
            raise InputError(f"--{next(iter(given))}: expected --compare with it")
        stage(arguments)
        return
    if arguments.max_hours is not None:
        raise InputError("--max-hours: expected none with --compare, which resumes where it was interrupted")
    with run_folder(arguments) as (config, run_dir):
        from scarlet_tf.run import run_comparison

        figures = run_comparison(config, run_dir, arguments.config, **given)
    show(arguments, figures, print_comparison)


def rank(arguments: argparse.Namespace) -> None:
    """Measure the quality of the supernet's ranking."""
    with run_folder(arguments) as (config, run_dir):
        from scarlet_tf.run import run_ranking

        figures = run_ranking(config, run_dir)
    show(arguments, figures, lambda all_: print_figures("rank", {k: v for k, v in all_.items() if k != "settings"}))


def report(arguments: argparse.Namespace) -> None:
    """One page about a run."""
    with library_lines_held_back(arguments):
        from scarlet_tf.run.stages import write_report

        path = write_report(arguments.run_dir, arguments.output)
    show(arguments, {"report": str(path), "bytes": path.stat().st_size}, lambda figures: say(figures["report"]))
