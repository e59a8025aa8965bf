"""Commands of one step in a run's folder: the stages, a comparison of searches, the ranking's measurement, the report."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from typing import Any

from scarlet_tf.base.cluster import is_writer
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import interval
from scarlet_tf.cli.output import library_lines_held_back, print_figures, print_table, show
from scarlet_tf.cli.parsing import adb_options, add_adb, add_command, add_config, add_max_hours, add_options
from scarlet_tf.cli.run import run_folder

STAGES = {
    "train-supernet": "train the supernet fairly (stage 1 of 5)",
    "search": "search the trained supernet (stage 2)",
    "race": "train the search's best networks and their rivals against each other (stage 3; race: off leaves it out)",
    "retrain": "train the race's winner, or the picked network, to its end (stage 4)",
    "export": "fold, export and verify the retrained network (stage 5)",
}


def add(commands) -> None:
    """Add the commands."""
    for name, text in STAGES.items():
        example = f"scarlet {name} configs/digits.yaml --run-dir runs/digits"
        command = add_command(commands, name, text, example, search if name == "search" else stage)
        command.set_defaults(stage=name, max_hours=None, adb=None, benchmark_model=None)
        add_config(command, required=True)
        if name == "search":
            _add_compare(command)
        if name in ("search", "export"):
            add_adb(command)
        if name in ("train-supernet", "retrain"):
            add_max_hours(command, "training")
        if name == "race":
            text = (
                "the race ends within H hours with the best network so far, which `retrain` trains to its end; the same command"
                " without it continues"
            )
            add_options(command, ("--max-hours", float, "H", None, text))
        if name == "search":
            text = (
                "the search ends within H hours, after the present group of models (search.evaluation_group), with the best"
                " so far; 0 takes what was evaluated already; the same command without it continues"
            )
            add_options(command, ("--max-hours", float, "H", None, text))
    text = "measure how well the supernet orders networks, by training some of them on their own; resumable"
    command = add_command(commands, "rank", text, "scarlet rank configs/digits.yaml --run-dir runs/digits", rank)
    command.set_defaults(stage="rank", max_hours=None)
    add_config(command, required=False)
    text = "write what a run folder holds, finished or not, as one HTML page that needs no network"
    command = add_command(commands, "report", text, "scarlet report runs/digits", report)
    command.add_argument("run_dir", metavar="RUN_DIR", help="a run folder")
    command.add_argument("--output", metavar="FILE", help="the page (default: report.html in the run folder)")


def _add_compare(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(
        "comparison", "hypervolume against evaluations of several searches, in compare/ of the run folder; resumable"
    )
    group.add_argument("--compare", action="store_true", help="compare searches instead of running the run's own")
    group.add_argument("--seeds", type=int, nargs="+", metavar="N", help="of the searches (default: 0 1 2)")
    text = (
        "some of random, nsga2_plain, nsga2 (as configured), keras_tuner_random, keras_tuner_bayesian (default: all but"
        " the last, whose trials take longer with their number)"
    )
    group.add_argument("--algorithms", nargs="+", metavar="NAME", help=text)
    text = "of each search (default: population_size * generations)"
    add_options(group, ("--evaluations", int, "N", None, text))


def stage(arguments: argparse.Namespace) -> None:
    """Run one stage."""
    with run_folder(arguments) as (config, run_dir):
        from scarlet_tf.run import run_stage

        options = {"max_hours": arguments.max_hours, "adb": adb_options(arguments)}
        figures = run_stage(arguments.stage, config, run_dir, arguments.config, **options)
    if is_writer(arguments.stage):
        show(arguments, figures, functools.partial(print_figures, arguments.stage))


def search(arguments: argparse.Namespace) -> None:
    """Run the search, or a comparison of several."""
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


def print_comparison(result: Mapping[str, Any]) -> None:
    """Print one line per algorithm: medians over seeds, with their 95 % intervals."""
    algorithms = result["algorithms"]
    rows = [
        (
            name,
            f"{row['hypervolume']['median']:.4f}",
            interval(row["evaluations_to_target"], ".0f"),
            interval(row.get("ratio_to_random"), ".2f"),
        )
        for name, row in algorithms.items()
    ]
    title = (
        f"{', '.join([result['space'], *result['bounds']])}:"
        f" {result['evaluations']} evaluations a search, {max(row['seeds'] for row in algorithms.values())} seeds"
    )
    headings = ("search", "hypervolume", f"evaluations to {result['target']:.4f}", "ratio to random")
    print_table(rows, headings, title, unbroken_names=True)


def rank(arguments: argparse.Namespace) -> None:
    """Measure the quality of the supernet's ranking."""
    with run_folder(arguments) as (config, run_dir):
        from scarlet_tf.run import run_ranking

        figures = run_ranking(config, run_dir)
    if figures:  # of several processes, the chief has them
        show(arguments, figures, lambda all_: print_figures("rank", {k: v for k, v in all_.items() if k != "settings"}))


def report(arguments: argparse.Namespace) -> None:
    """Write one page about a run."""
    with library_lines_held_back(arguments):
        from scarlet_tf.run import write_report

        path = write_report(arguments.run_dir, arguments.output)
    show(arguments, {"report": str(path), "bytes": path.stat().st_size}, lambda _: [str(path)])
