"""Parsing of the command line: errors with suggestions, options that several commands share, completion in shells."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from scarlet_tf.base.errors import InputError, nearest, visible

_WRONG_CHOICE = re.compile(r"invalid choice: '([^']*)'")
_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (--?[^\s=]+)")


class Parser(argparse.ArgumentParser):
    """argparse's parser with one-line errors that name the nearest command or option and the --help to read."""

    def parse_args(self, args=None, namespace=None):
        """Parse as argparse does; the command that did not know an option suggests one, not `scarlet` as a whole."""
        arguments, rest = self.parse_known_args(args, namespace)
        if rest:
            getattr(arguments, "parser", self).error(f"unrecognized arguments: {' '.join(rest)}")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Print the message, the nearest name and the help to read; exit with code 2."""
        self.exit(2, visible(f"{self.prog}: error: {message}{self._suggestion(message)}; see: {self.prog} --help\n"))

    def _suggestion(self, message: str) -> str:
        for pattern, known in ((_WRONG_CHOICE, self._commands()), (_UNKNOWN_OPTION, self._options())):
            found = pattern.search(message)
            if found:
                return nearest(found[1], known)
        return ""

    def _commands(self) -> Iterator[str]:
        for action in self._actions:
            yield from map(str, action.choices or ())

    def _options(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings


def add_command(
    commands, name: str, text: str, example: str, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    """Add a command with the options of every command: --help with an example, --json, --quiet and --verbose."""
    command = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=f"example: {example}"
    )
    command.add_argument("--json", action="store_true", help="print the figures as one JSON object and nothing else")
    add_loudness(command)
    command.set_defaults(run=run, parser=command)
    return command


def add_options(command, *options: tuple[str, type, str | None, Any, str]) -> None:
    """Add options of one value each to a command or a group: (name, type, metavar, default, help)."""
    for name, kind, metavar, default, text in options:
        command.add_argument(name, type=kind, metavar=metavar, default=default, help=text)


def add_loudness(parser: argparse.ArgumentParser) -> None:
    """Add --quiet and --verbose, which are accepted before a command's name and after it; the last one counts."""
    for name, text in (
        ("quiet", "on the terminal only results, warnings and errors; run.log still has all lines"),
        ("verbose", "also debug lines, and what TensorFlow and other libraries print"),
    ):
        flags, suppress = (f"-{name[0]}", f"--{name}"), argparse.SUPPRESS
        parser.add_argument(*flags, dest="loudness", action="store_const", const=name, default=suppress, help=text)


def add_config(command: argparse.ArgumentParser, required: bool) -> None:
    """Add the configuration and the run folder."""
    command.add_argument("config", metavar="CONFIG", help="a YAML file, such as configs/digits.yaml")
    add_folder(command, "" if required else " (default: runs/<name of the config file>)", required=required)


def add_folder(command: argparse.ArgumentParser, default: str, *aliases: str, required: bool = False) -> None:
    """Add the run folder, with other names for the option, and --set."""
    text = f"folder of the run's files{default}"
    command.add_argument("--run-dir", *aliases, metavar="DIR", required=required, help=text)
    text = "override one value of the config, such as search.generations=5; may be repeated"
    command.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help=text)


def add_max_hours(command: argparse.ArgumentParser, what: str) -> None:
    """Add --max-hours; `what` names what ends."""
    text = (
        f"{what} ends within H hours of its start, a training after the last whole epoch that fits; the learning rate's"
        " schedule is not rescaled"
    )
    command.add_argument("--max-hours", type=float, metavar="H", help=text)


def add_adb(command: argparse.ArgumentParser) -> None:
    """Add the options that measure on a phone."""
    group = command.add_argument_group("on a phone", "over adb; tested against a stand-in for it, on no device yet")
    text = "measure latencies on this Android device, or on the only one there is"
    group.add_argument("--adb", nargs="?", const="", metavar="SERIAL", help=text)
    text = (
        "TFLite's benchmark_model for the device: a file here, which is copied there, or its path on the device (default:"
        " /data/local/tmp/benchmark_model)"
    )
    group.add_argument("--benchmark-model", metavar="PATH", help=text)


def adb_options(arguments: argparse.Namespace) -> dict | None:
    """The phone that --adb names, as arguments of an AdbRunner; None without it."""
    if arguments.adb is None and arguments.benchmark_model is not None:
        raise InputError("--benchmark-model: expected --adb with it")
    if arguments.adb is None:
        return None
    return {"serial": arguments.adb or None, "benchmark_model": arguments.benchmark_model}


# -- completion ---------------------------------------------------------------------------------------------------

SHELLS = ("bash", "zsh", "tcsh")


class PrintCompletion(argparse.Action):
    """The option that prints the script for a shell and exits."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Print the script, which completes the names of the networks that exist now."""
        from scarlet_tf.cli.output import printing
        from scarlet_tf.models.zoo_data import zoo_names

        with printing():
            print(completion_script(parser, values, zoo_names()))
        parser.exit()


def completion_script(parser: argparse.ArgumentParser, shell: str, networks: Sequence[str]) -> str:
    """The script for one of SHELLS; `networks`: the names that complete a network argument."""
    import shtab

    names = " ".join(networks)
    zsh = f"_alternative 'networks:network:({names})' 'files:file:_files'"
    names_or_files = _words("_scarlet_networks_and_files", names, zsh, "compgen -f -- $1;")
    completions: dict[Any, Any] = {  # of values, by their metavar
        **dict.fromkeys(("DIR", "RUN", "RUN_DIR", "DATASET"), shtab.DIRECTORY),
        **dict.fromkeys(("CONFIG", "FILE", "RUN|FILE", "PATH"), shtab.FILE),
        **dict.fromkeys(("ARCH|ZOO_NAME|FILE", "ARCH|ZOO_NAME", "NETWORK"), names_or_files),
    }
    for action in _actions(parser):
        how = completions.get(action.metavar)
        if action.metavar == "NAME" and not action.option_strings:  # options take names of other things
            how = _words("_scarlet_networks", names, f"({names})")
        if how is not None:
            action.complete = how  # type: ignore[attr-defined] # how shtab is told
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The actions of all subparsers."""
    for action in parser._actions:
        yield action
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _actions(command)


def _words(function: str, words: str, zsh: str, further: str = "") -> dict[str, Any]:
    """Words, and in bash the output of a `further` command; tcsh completes files instead."""
    body = f'compgen -W "{words}" -- $1; {further}'
    return {"bash": function, "zsh": zsh, "tcsh": "f", "preamble": {"bash": f"{function}() {{ {body} }}\n"}}
