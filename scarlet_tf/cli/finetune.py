"""`scarlet finetune`: a trained network, trained further on other images and exported."""

from __future__ import annotations

import argparse
import pathlib

from scarlet_tf.cli.output import show
from scarlet_tf.cli.parsing import add_command, add_folder, add_max_hours
from scarlet_tf.cli.run import print_summary, run_folder

# Options of the command and the keys of a configuration that they set.
_KEYS = {
    "weights": "finetune.weights",
    "image_size": "data.image_size",
    "epochs": "finetune.epochs",
    "batch_size": "finetune.batch_size",
    "learning_rate": "finetune.learning_rate",
    "freeze_bn": "finetune.freeze_bn",
    "train_from": "finetune.train_from",
    "rate_decay": "finetune.rate_decay",
}


def add(commands) -> None:
    """Add the command."""
    text = "train a trained network further on images of your own and export it; started again, it resumes"
    example = (
        "scarlet finetune scarlet_a --weights scarlet_a.weights.h5 --data photos --image-size 96 --run-dir runs/photos"
    )
    command = add_command(commands, "finetune", text, example, finetune)
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

    given = {key: getattr(arguments, name) for name, key in _KEYS.items()}
    settings = {key: value for key, value in given.items() if value is not None}
    if "finetune.weights" in settings:
        settings["finetune.weights"] = str(pathlib.Path(arguments.weights).resolve())
    if arguments.data is not None:
        # So that the run folder works from any directory; a folder that is not there may be under $SCARLET_DATA_DIR.
        data = pathlib.Path(arguments.data)
        settings["data.directory"] = str(data.resolve()) if data.exists() else arguments.data
    return finetune_config(arguments.network, settings, arguments.overrides)
