"""InputError: every module's error for bad input; the command line turns it into exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as "; did you mean scarlet_a?" to append to a message; "" if no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


class InputError(ValueError):
    """Bad input from the user: the message names the key or file, what was expected and what came."""


class NotFiniteError(InputError):
    """A training's loss became infinite or NaN: the settings are at fault, and the message names those to change."""


class ChecksFailedError(RuntimeError):
    """A check failed; the command line turns it into exit code 1, without a traceback."""


class WorkerLostError(RuntimeError):
    """Another worker of a distributed training is lost; started again, all resume from the last checkpoint."""
