"""Folding of a LET: one row for each of its rules."""

from __future__ import annotations

from matplotlib.figure import Figure

from pictures.diagram import COLOURS, FAINT, PALE, arrow, box, label, sheet

LET, CHANGED = COLOURS[1], COLOURS[4]


def folding() -> Figure:
    """Before and after, for the four rules that remove a LET."""
    figure, axes = sheet(15, 8.9)
    label(axes, 4.2, 8.5, "before", bold=True)
    label(axes, 11.4, 8.5, "after", bold=True)
    _row(axes, 7.5, "1", (("LET W1", LET), ("LET W2", LET)), (("LET W2·W1", LET),), "two LETs")
    _row(axes, 5.7, "2", (("LET W", LET), ("expand E", PALE)), (("expand E·W", CHANGED),), "no shortcut after it")
    _row(
        axes, 3.9, "3", (("project P", PALE), ("LET W", LET)), (("project W·P", CHANGED),), "no shortcut in front of it"
    )
    _stream(axes, 1.6)
    return figure


def _row(axes, y: float, number: str, before, after, note: str) -> None:
    label(axes, 0.5, y, number, bold=True, size=12)
    _chain(axes, 1.4, y, before)
    _chain(axes, 9.4, y, after)
    arrow(axes, (7.5, y), (8.5, y), width=2)
    label(axes, 4.2, y - 0.65, note, FAINT, size=9)


def _chain(axes, left: float, y: float, parts) -> None:
    x = left
    for text, colour in parts:
        arrow(axes, (x, y), (x + 0.6, y))
        box(axes, x + 1.6, y, text, 2.0, 0.7, colour)
        x += 2.6
    arrow(axes, (x, y), (x + 0.6, y))


def _stream(axes, y: float) -> None:
    """Rule 4: the stream after the LET carries z instead of x = W z."""
    label(axes, 0.5, y, "4", bold=True, size=12)
    arrow(axes, (1.0, y), (1.4, y))
    box(axes, 2.0, y, "LET W", 1.2, 0.7, LET)
    _block(axes, 2.6, y, "E ... P", 1.4, PALE)
    box(axes, 6.55, y, "reader R", 1.5, 0.7)
    label(axes, 2.85, y - 0.3, "x", FAINT)
    arrow(axes, (7.5, y), (8.5, y), width=2)
    _block(axes, 9.0, y, "E·W ... W⁺·P", 2.4, CHANGED)
    box(axes, 13.75, y, "R·W", 1.1, 0.7, CHANGED)
    label(axes, 9.2, y - 0.3, "z", FAINT)
    label(axes, 7.5, y - 1.0, "blocks with shortcuts after it: their stream changes its basis, x = W z", FAINT, size=9)


def _block(axes, left: float, y: float, text: str, width: float, colour: str) -> None:
    """A block with a shortcut over it, and the arrow to the reader of their sum."""
    end = left + 0.7 + width
    arrow(axes, (left, y), (left + 0.7, y))
    box(axes, left + 0.7 + width / 2, y, text, width, 0.7, colour)
    arrow(axes, (end, y), (end + 0.35, y))
    arrow(axes, (left + 0.4, y), (left + 0.4, y + 0.75), (end + 0.55, y + 0.75), (end + 0.55, y + 0.2))
    axes.scatter([end + 0.55], [y], s=130, facecolor="white", edgecolor="black", zorder=3)
    label(axes, end + 0.55, y, "+")
    arrow(axes, (end + 0.75, y), (end + 1.1, y))
