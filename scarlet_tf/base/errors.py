"""InputError: every module's error for bad input; the command line turns it into exit code 2."""

from __future__ import annotations

import difflib
import re
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


# -- Text made safe for a terminal or a log, whatever a name in it contains ----------------------------------------


# Control characters save tab and line feed, separators of lines, marks and overrides of the writing direction, and halves
# of characters, as Python makes them of a file name that is not in UTF-8.
_INVISIBLE = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return `text` with escapes, such as \x1b, for characters that would act on a terminal."""
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
