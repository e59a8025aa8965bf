"""Text made safe for a terminal or a log, whatever a name in it contains."""

from __future__ import annotations

import re

# Control characters save tab and line feed, separators of lines, marks and overrides of the writing direction, and halves
# of characters, as Python makes them of a file name that is not in UTF-8.
_INVISIBLE = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return `text` with escapes, such as \x1b, for characters that would act on a terminal."""
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
