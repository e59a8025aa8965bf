"""An argument parser whose errors suggest the nearest name and the help to read."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import NoReturn

from scarlet_tf.errors import nearest
from scarlet_tf.visible import visible

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
