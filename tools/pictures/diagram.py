"""Boxes, arrows and texts on a white sheet, saved as an SVG that is the same each time it is drawn."""

from __future__ import annotations

import itertools
import pathlib
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, FAINT, PALE = "#24292f", "#8a929a", "#eef1f4"
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Paul Tol's bright scheme, which people with colour-blindness tell apart, too."""
INCHES = 0.55
"""Of one unit of a sheet."""


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A white sheet of width x height units, the origin at the lower left."""
    figure = Figure(figsize=(width * INCHES, height * INCHES), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return figure, axes


def box(axes: Axes, x: float, y: float, text: str, width=1.6, height=0.7, colour=PALE, dashed=False) -> None:
    """A rounded box around (x, y); the text is white on a strong colour."""
    style = "round,pad=0,rounding_size=0.12"
    line: dict[str, Any] = {"linestyle": "--" if dashed else "-", "linewidth": 1.0, "edgecolor": INK}
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, zorder=2, **line))
    label(axes, x, y, text, colour=INK if colour in (PALE, "white", COLOURS[3], COLOURS[4]) else "white")


def label(axes: Axes, x: float, y: float, text: str, colour=INK, size=10, bold=False, align="center") -> None:
    """Text around (x, y), or from it on with align="left"."""
    weight = "bold" if bold else "normal"
    axes.text(x, y, text, color=colour, fontsize=size, weight=weight, ha=align, va="center", zorder=4)


def arrow(axes: Axes, *points: tuple[float, float], colour=INK, head=True, width=1.3) -> None:
    """A line through the points, with a head at the last one."""
    for start, end in itertools.pairwise(points):
        last = head and end == points[-1]
        style = "-|>" if last else "-"
        line = {"arrowstyle": style, "mutation_scale": 10, "linewidth": width, "color": colour}
        axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, zorder=1, **line))


def save(figure: Figure, path: pathlib.Path) -> None:
    """Write the SVG: letters as shapes, which need no font; no date; the same identifiers each time."""
    with matplotlib.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
