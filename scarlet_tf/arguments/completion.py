"""Scripts for shells that complete `scarlet`'s commands, options, files and names of networks."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import shtab

# Values that an argument accepts, by its metavar.
_FOLDERS = ("DIR", "RUN", "RUN_DIR", "DATASET")
_FILES = ("CONFIG", "FILE", "RUN|FILE", "PATH")
_NAMES_OR_FILES = ("ARCH|ZOO_NAME|FILE", "ARCH|ZOO_NAME", "NETWORK")
_NAMES = ("NAME",)  # of a positional argument: options take names of other things


def completion_script(parser: argparse.ArgumentParser, shell: str, networks: Sequence[str]) -> str:
    """The script for bash, zsh or tcsh; `networks`: the names that complete a network argument."""
    for action in _actions(parser):
        how = _completion(action, " ".join(networks))
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


def _completion(action: argparse.Action, networks: str) -> dict | None:
    if action.metavar in _FOLDERS:
        return shtab.DIRECTORY
    if action.metavar in _FILES:
        return shtab.FILE
    if action.metavar in _NAMES_OR_FILES:
        zsh = f"_alternative 'networks:network:({networks})' 'files:file:_files'"
        return _words("_scarlet_networks_and_files", networks, zsh, "compgen -f -- $1;")
    if action.metavar in _NAMES and not action.option_strings:
        return _words("_scarlet_networks", networks, f"({networks})")
    return None


def _words(function: str, words: str, zsh: str, further: str = "") -> dict:
    """Words, and in bash the output of a `further` command; tcsh completes files instead."""
    body = f'compgen -W "{words}" -- $1; {further}'
    return {"bash": function, "zsh": zsh, "tcsh": "f", "preamble": {"bash": f"{function}() {{ {body} }}\n"}}
