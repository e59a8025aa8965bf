"""Commands that work in a run folder."""

from __future__ import annotations

import argparse

from scarlet_tf.arguments.common import add_adb, add_command, add_config, add_folder, add_max_hours

STAGE_HELP = {
    "train-supernet": "train the supernet fairly (stage 1 of 4)",
    "search": "search the trained supernet (stage 2)",
    "retrain": "train the picked network on its own (stage 3)",
    "optimize": "train further with 8-bit rounding, prune, or both, as set in `optimization` (between stages 3 and 4)",
    "export": "fold, export and verify the retrained network (stage 4)",
}


def add_run(commands) -> None:
    """`scarlet run`."""
    example = "scarlet run configs/digits.yaml --set search.generations=5"
    command = add_command(commands, "run", "run every stage in order; started again, it resumes", example, "run")
    add_config(command, required=False)
    add_max_hours(command, "each of the two trainings, of the supernet and of the picked network, and the search")
    add_adb(command)


def add_stage(commands, name: str, text: str) -> None:
    """A command of STAGE_HELP."""
    example = f"scarlet {name} configs/digits.yaml --run-dir runs/digits"
    command = add_command(commands, name, text, example, "stage")
    command.set_defaults(stage=name, max_hours=None, adb=None, benchmark_model=None)
    add_config(command, required=True)
    if name == "search":
        _add_compare(command)
    if name in ("search", "export"):
        add_adb(command)
    if name in ("train-supernet", "retrain"):
        add_max_hours(command, "training")
    if name == "search":
        command.add_argument(
            "--max-hours",
            type=float,
            metavar="H",
            help="the search ends within H hours, after the present group of models (search.evaluation_group), with the best so"
            " far; 0 takes what was evaluated already; the same command without it continues",
        )


def _add_compare(command: argparse.ArgumentParser) -> None:
    command.set_defaults(handler="search")
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
        " the last, whose trials take longer with their number)",
    )
    group.add_argument(
        "--evaluations", type=int, metavar="N", help="of each search (default: population_size * generations)"
    )


def add_finetune(commands) -> None:
    """`scarlet finetune`."""
    text = "train a trained network further on images of your own and export it; started again, it resumes"
    example = (
        "scarlet finetune scarlet_a --weights scarlet_a.weights.h5 --data photos --image-size 96 --run-dir runs/photos"
    )
    command = add_command(commands, "finetune", text, example, "finetune")
    command.add_argument(
        "network",
        metavar="NETWORK",
        help="a name such as scarlet_a, a run folder whose network is meant, or a YAML file whose `finetune` says which",
    )
    command.add_argument("--data", metavar="DIR", help="a folder of class folders, or of train/ and test/ with such")
    command.add_argument(
        "--weights", metavar="FILE", help="of a named network: a .weights.h5, or PyTorch's (default: random)"
    )
    command.add_argument("--image-size", type=int, metavar="PIXELS", help="default: the run's, 224 for a named network")
    command.add_argument("--epochs", type=int, metavar="N", help="default: 20")
    command.add_argument("--batch-size", type=int, metavar="N", help="default: 32")
    command.add_argument("--learning-rate", type=float, metavar="RATE", help="of SGD with momentum (default: 0.01)")
    command.add_argument(
        "--freeze-bn", action="store_true", default=None, help="do not change batch normalisation, statistics included"
    )
    command.add_argument(
        "--train-from",
        metavar="PART",
        help="train only this part and those after it: a block such as block_12, tail or classifier",
    )
    command.add_argument(
        "--rate-decay",
        type=float,
        metavar="FACTOR",
        help="each block's learning rate is the next one's times this (default: 1; usual: 0.7 to 0.95)",
    )
    add_folder(command, " (default: runs/<name of the data's folder>)", "--out")
    add_max_hours(command, "training")


def add_rank(commands) -> None:
    """`scarlet rank`."""
    text = "measure how well the supernet orders networks, by training some of them on their own; resumable"
    command = add_command(commands, "rank", text, "scarlet rank configs/digits.yaml --run-dir runs/digits", "rank")
    command.set_defaults(max_hours=None)
    add_config(command, required=False)


def add_report(commands) -> None:
    """`scarlet report`."""
    text = "write what a run folder holds, finished or not, as one HTML page that needs no network"
    command = add_command(commands, "report", text, "scarlet report runs/digits", "report")
    command.add_argument("run_dir", metavar="RUN_DIR", help="a run folder")
    command.add_argument("--output", metavar="FILE", help="the page (default: report.html in the run folder)")
