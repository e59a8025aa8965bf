"""`scarlet init`: a commented configuration for images and a budget."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import millions
from scarlet_tf.cli.output import library_lines_held_back, show
from scarlet_tf.cli.parsing import add_command, add_options

# Device files of NVIDIA's driver, of AMD's, and of Windows' in a Linux subsystem.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def add(commands) -> None:
    """Add the command."""
    text = "look at images and write a commented configuration for them and a budget"
    example = "scarlet init photos --time 10m; scarlet init tfds:cifar10 --budget 4M; scarlet init digits --budget 0.6M"
    command = add_command(commands, "init", text, example, init)
    what = (
        "a folder of class folders (with or without train/ and test/ above them), a prepared TFDS folder, tfds:NAME,"
        " which is downloaded if it is not prepared, or digits"
    )
    budget = (
        "multiply-adds that the network stays below, such as 60M; without it --time decides, or the error says what is in"
        " reach"
    )
    time = (
        "what the whole run may take on this machine, such as 10m or 1h30m: a few steps are tried, and lengths, and without"
        " --budget the space, are chosen so that the forecast stays within it"
    )
    hours = "for the two trainings and the search together; the next command then has a --max-hours for each of them"
    parent = (
        "the trained network that the run starts from: lite0, lite1, lite2 or a file; or none, for a run from scratch (default:"
        " the smallest of them that suits images and budget, where the extra pretrained is installed)"
    )
    command.add_argument("dataset", metavar="DATASET", help=what)
    add_options(
        command,
        ("--budget", str, "M", None, budget),
        ("--time", str, "T", None, time),
        ("--parent", str, "NAME", None, parent),
        ("--out", str, "FILE", None, "the file to write (default: <name of the dataset>.yaml)"),
        ("--name", str, None, None, "of the run (default: the file's name)"),
        ("--hours", float, "H", None, hours),
    )
    command.add_argument("--force", action="store_true", help="replace the file if it exists")


def init(arguments: argparse.Namespace) -> None:
    """Write a configuration after validating it."""
    if arguments.hours is not None and not arguments.hours > 0:
        raise InputError(f"--hours: expected a number > 0, got {arguments.hours!r}")
    with library_lines_held_back(arguments):
        from scarlet_tf.base.files import file_name, write_text
        from scarlet_tf.base.settings import quantity
        from scarlet_tf.cli.init_draft import data_config, draft
        from scarlet_tf.cli.init_timing import parse_time

        budget = None if arguments.budget is None else quantity("--budget", arguments.budget)
        seconds = None if arguments.time is None else parse_time(arguments.time)
        data = data_config(arguments.dataset)
        path = pathlib.Path(arguments.out or f"{file_name(_stem(arguments.dataset))}.yaml")
        _check_free(path, arguments.force)
        made = draft(data, budget, _has_gpu(), arguments.name or path.stem, path, seconds, arguments.parent)
        write_text(path, made.text)
    # Two trainings and the search get a third of the hours each.
    limit = [] if arguments.hours is None else ["--max-hours", f"{arguments.hours / 3:.3g}"]
    following = (["scarlet", "doctor", "--config", str(path)], ["scarlet", "run", str(path), *limit])
    commands = [shlex.join(command) for command in following]
    show(arguments, {"file": str(path), **made.figures, "next": commands}, _lines)


def _has_gpu() -> bool:
    """True if TensorFlow sees a GPU; it is imported, which takes time and memory, only if there is a driver."""
    if sys.platform == "linux" and not any(pathlib.Path(device).exists() for device in _GPU_DEVICES):
        return False
    from scarlet_tf.training.memory import gpu_names

    return bool(gpu_names())


def _stem(dataset: str) -> str:
    """A file name for a dataset's name."""
    return pathlib.Path(dataset.removeprefix("tfds:").partition(":")[0]).resolve().name.replace(".", "_") or "my"


def _check_free(path: pathlib.Path, force: bool) -> None:
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"--out: expected a .yaml file, got {path}")
    if path.exists() and not force:
        raise InputError(f"{path}: it exists; take another --out, or --force to replace it")


def _of_parent(figures: Mapping[str, Any]) -> str:
    parent = figures["parent"]
    cost = f"{millions(parent['multiply_adds'])} multiply-adds at {figures['image_size']} pixels"
    return f"from the trained network {parent['name']}: {cost}, {parent['over_budget']:g} times the budget"


def _lines(figures: Mapping[str, Any]) -> Iterator[str]:
    images = ", ".join(f"{count:,} {split}" for split, count in figures["images"].items())
    yield f"{figures['dataset']}: {images} images, {figures['classes']} classes, shorter side {figures['median_side']} pixels"
    for warning in figures["warnings"]:
        yield f"warning: {warning}"
    yield f"from scratch: {figures['why_from_scratch']}" if figures["parent"] is None else _of_parent(figures)
    least, greatest = (millions(figures["reach"][key]) for key in ("least", "greatest"))
    width = figures["width_multiplier"]
    space = figures["space"] + ("" if width == 1 else f" x {width:g}")
    yield f"image_size {figures['image_size']}, space {space}: {least} to {greatest} multiply-adds"
    if figures["forecast_seconds"]:
        from scarlet_tf.config.run_time import in_words

        yield f"forecast {in_words(figures['forecast_seconds'])} (steps were tried here; other work on this machine counts)"
    else:
        yield "no forecast of the time; --time 10m makes one, and chooses lengths for it; scarlet run makes one, too"
    yield f"wrote {figures['file']}, which explains each choice; next:"
    for command in figures["next"]:
        yield f"  {command}"
