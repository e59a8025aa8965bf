"""`scarlet run`: every stage of a run in order; and the run folder, in which other commands work, too."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.base import host, logs
from scarlet_tf.base.cluster import is_writer, read_tf_config
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import (
    before_scaling,
    duration,
    input_sizes_in_words,
    kibibytes,
    millions,
    percent,
    plural,
    race_in_words,
    why_picked,
)
from scarlet_tf.cli.output import native_lines, print_figures, print_table, say, show
from scarlet_tf.cli.parsing import adb_options, add_adb, add_command, add_config, add_max_hours


def add(commands) -> None:
    """Add the command."""
    example = "scarlet run configs/digits.yaml --set search.generations=5"
    command = add_command(commands, "run", "run every stage in order; started again, it resumes", example, run)
    add_config(command, required=False)
    add_max_hours(
        command, "each of the two trainings, of the supernet and of the picked network, the search and the race"
    )
    text = "the last stage to run, such as search; optimize: training with 8-bit rounding and pruning as set in `optimization`"
    command.add_argument("--until", metavar="STAGE", help=text)
    add_adb(command)


def run(arguments: argparse.Namespace) -> None:
    """Run every stage in order."""
    with run_folder(arguments) as (config, run_dir):
        from scarlet_tf.run import run_all

        options = {"max_hours": arguments.max_hours, "adb": adb_options(arguments), "until": arguments.until}
        figures = run_all(config, run_dir, **options)
    show(arguments, figures, functools.partial(print_figures, arguments.until) if arguments.until else print_summary)


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
        from scarlet_tf.base.files import file_name
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

        with logs.log_to_file(arguments.log, send_native_lines, first=host.in_words()):
            yield config, run_dir


def _check_kernels() -> None:
    """Raise InputError if SCARLET_KERNELS names no kernels, or none that work here, before anything is read or written."""
    if not os.environ.get(host.KERNELS):
        return
    from scarlet_tf.evaluation import kernels

    if kernels.wanted() != "auto" and len(read_tf_config().tasks) < 2:  # TensorFlow configures several at its start
        kernels.route()


def _check_hours(hours: float | None, least: float | None = None) -> None:
    if hours is not None and not (0 < hours < math.inf or hours == least):
        raise InputError(f"--max-hours: expected a number {'> 0' if least is None else '>= 0'}, got {hours!r}")


# -- the closing table --------------------------------------------------------------------------------------------


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print the closing table of a run, then one line per file."""
    print_table(_rows(summary), title=f"{summary['name']}: {summary['dataset']['name']}")
    print_files(summary["files"])
    say(f"Everything is in {summary['run_dir']}")
    if summary.get("report"):
        say(f"To look at it, open {summary['report']} in a browser")


def _rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    pick, retrained, searched = summary["pick"], summary["retrained"], "supernet" in summary
    network, training = f"{pick['space']}:{pick['architecture']}", "retrained" if searched else "fine-tuned"
    if searched:
        supernet, front = summary["supernet"], summary["front"]
        accuracies = f"mean {percent(supernet['mean_accuracy'])}, best {percent(supernet['best_accuracy'])}"
        known_by = supernet.get("known_by", "one-shot")
        yield f"search, {known_by}", f"{accuracies} on validation images ({plural(supernet['evaluated'], 'network')})"
        yield "front", f"{plural(front['size'], 'network')}, {front['picks']} picked"
        if "input_sizes" in summary:
            yield "input size", input_sizes_in_words(**summary["input_sizes"])
        yield "pick", network
        if "race" in summary:
            yield "race", race_in_words(summary["race"])
        else:
            yield "picked as", why_picked(pick["pick"], pick["one_shot_accuracy"], pick["passed_over"], known_by)
    else:
        yield training, summary["origin"]["network"]
        yield "network", network
    yield "cost", f"{millions(pick['multiply_adds'])} multiply-adds, {millions(pick['params'])} params"
    if "scaling" in pick:
        from scarlet_tf.space.scaling import Scaling

        costs = (pick[f"searched_{name}"] for name in ("multiply_adds", "params"))
        yield "before scaling", before_scaling(Scaling(**pick["scaling"]), *costs)
    if "bounds" in summary:
        yield "bounds", ", ".join(summary["bounds"]) or "none"
    yield f"{training} top-1", f"{percent(retrained['test_accuracy'])} on {retrained['test_examples']} test images"
    for text in summary.get("warnings", ()):
        yield "warning", text
    yield "time", ", ".join(f"{name} {duration(round(seconds))}" for name, seconds in summary["seconds"].items())


def print_files(files: Sequence[Mapping[str, Any]]) -> None:
    """Print one line per exported file."""
    rows = [
        (
            row["file"],
            kibibytes(row["bytes"]),
            "-" if row["max_logit_difference"] is None else f"{row['max_logit_difference']:.2g}",
            percent(row["top1"]),
        )
        for row in files
    ]
    print_table(rows, ("file", "size", "max. logit difference", "top-1"))
