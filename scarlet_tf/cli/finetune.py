"""`scarlet finetune`: a trained network, trained further on other images and exported."""

from __future__ import annotations

import argparse
import pathlib

from scarlet_tf.cli.output import show
from scarlet_tf.cli.parsing import add_command, add_folder, add_max_hours
from scarlet_tf.cli.run import print_summary, run_folder

# Options that set a key of the configuration: (name, key, type, metavar, help).
_OPTIONS: tuple[tuple[str, str, type, str, str], ...] = (
    ("weights", "finetune.weights", str, "FILE", "of a named network: a .weights.h5, or PyTorch's (default: random)"),
    ("image-size", "data.image_size", int, "PIXELS", "default: the run's, 224 for a named network"),
    ("epochs", "finetune.epochs", int, "N", "default: 20"),
    ("batch-size", "finetune.batch_size", int, "N", "default: 32"),
    ("learning-rate", "finetune.learning_rate", float, "RATE", "of SGD with momentum (default: 0.01)"),
    (
        "train-from",
        "finetune.train_from",
        str,
        "PART",
        "train only this part and those after it: a block such as block_12, tail or classifier",
    ),
    (
        "rate-decay",
        "finetune.rate_decay",
        float,
        "FACTOR",
        "each block's learning rate is the next one's times this (default: 1; usual: 0.7 to 0.95)",
    ),
)


def add(commands) -> None:
    """Add the command."""
    text = "train a trained network further on images of your own and export it; started again, it resumes"
    example = (
        "scarlet finetune scarlet_a --weights scarlet_a.weights.h5 --data photos --image-size 96 --run-dir runs/photos"
    )
    command = add_command(commands, "finetune", text, example, finetune)
    what = "a name such as scarlet_a, a run folder whose network is meant, or a YAML file whose `finetune` says which"
    command.add_argument("network", metavar="NETWORK", help=what)
    command.add_argument("--data", metavar="DIR", help="a folder of class folders, or of train/ and test/ with such")
    for name, _, kind, metavar, text in _OPTIONS:
        command.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)
    text = "do not change batch normalisation, statistics included"
    command.add_argument("--freeze-bn", action="store_true", default=None, help=text)
    add_folder(command, " (default: runs/<name of the data's folder>)", "--out")
    add_max_hours(command, "training")


def finetune(arguments: argparse.Namespace) -> None:
    """Train a trained network further and export it."""
    is_file = arguments.network.endswith((".yaml", ".yml"))
    arguments.config = arguments.network if is_file else arguments.data or arguments.network
    with run_folder(arguments, _config) as (config, run_dir):
        from scarlet_tf.run import run_all

        summary = run_all(config, run_dir, max_hours=arguments.max_hours)
    show(arguments, summary, print_summary)


def _config(arguments: argparse.Namespace):
    from scarlet_tf.config import finetune_config

    given = {key: getattr(arguments, name.replace("-", "_")) for name, key, *_ in _OPTIONS}
    given["finetune.freeze_bn"] = arguments.freeze_bn
    settings = {key: value for key, value in given.items() if value is not None}
    if "finetune.weights" in settings:
        settings["finetune.weights"] = str(pathlib.Path(arguments.weights).resolve())
    if arguments.data is not None:
        # So that the run folder works from any directory; a folder that is not there may be under $SCARLET_DATA_DIR.
        data = pathlib.Path(arguments.data)
        settings["data.directory"] = str(data.resolve()) if data.exists() else arguments.data
    return finetune_config(arguments.network, settings, arguments.overrides)
