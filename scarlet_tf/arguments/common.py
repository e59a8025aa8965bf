"""Options that several commands share."""

from __future__ import annotations

import argparse

from scarlet_tf.errors import InputError


def add_command(
    commands, name: str, text: str, example: str, handler: str, prints_figures: bool = True
) -> argparse.ArgumentParser:
    """Add a command with the options of every command: --help with an example, --json, --quiet and --verbose."""
    command = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=f"example: {example}"
    )
    if prints_figures:
        text = "print the figures as one JSON object and nothing else"
        command.add_argument("--json", action="store_true", help=text)
    add_loudness(command)
    command.set_defaults(handler=handler, parser=command)
    return command


def add_loudness(parser: argparse.ArgumentParser) -> None:
    """Add --quiet and --verbose, which are accepted before a command's name and after it; the last one counts."""
    for name, text in (
        ("quiet", "on the terminal only results, warnings and errors; run.log still has all lines"),
        ("verbose", "also debug lines, and what TensorFlow and other libraries print"),
    ):
        parser.add_argument(
            f"-{name[0]}",
            f"--{name}",
            dest="loudness",
            action="store_const",
            const=name,
            default=argparse.SUPPRESS,
            help=text,
        )


def add_config(command: argparse.ArgumentParser, required: bool) -> None:
    """The configuration and the run folder."""
    command.add_argument("config", metavar="CONFIG", help="a YAML file, such as configs/digits.yaml")
    add_folder(command, "" if required else " (default: runs/<name of the config file>)", required=required)


def add_folder(command: argparse.ArgumentParser, default: str, *aliases: str, required: bool = False) -> None:
    """The run folder, with other names for the option, and --set."""
    text = f"folder of the run's files{default}"
    command.add_argument("--run-dir", *aliases, metavar="DIR", required=required, help=text)
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        action="append",
        default=[],
        help="override one value of the config, such as search.generations=5; may be repeated",
    )


def add_max_hours(command: argparse.ArgumentParser, what: str) -> None:
    """Add --max-hours; `what` names what ends."""
    command.add_argument(
        "--max-hours",
        type=float,
        metavar="H",
        help=f"{what} ends within H hours of its start, a training after the last whole epoch that fits; the learning rate's"
        " schedule is not rescaled",
    )


def add_adb(command: argparse.ArgumentParser) -> None:
    """The options that measure on a phone."""
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


def adb_options(arguments: argparse.Namespace) -> dict | None:
    """The phone that --adb names, as arguments of an AdbRunner; None without it."""
    if arguments.adb is None and arguments.benchmark_model is not None:
        raise InputError("--benchmark-model: expected --adb with it")
    if arguments.adb is None:
        return None
    return {"serial": arguments.adb or None, "benchmark_model": arguments.benchmark_model}


def add_space(command: argparse.ArgumentParser) -> None:
    """Add --space and --config; either names a space."""
    either = command.add_mutually_exclusive_group()
    either.add_argument(
        "--space", help="s1, s2 (default), or the YAML file of a space of your own; a zoo network brings its own"
    )
    either.add_argument("--config", metavar="CONFIG", help="the YAML file of a run, whose space is used")
