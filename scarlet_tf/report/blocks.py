"""Parts of a section: blocks, whose look the templates define by `kind`; Plotly's figures as JSON; metrics in words.

Colours of figures are variables of the page's style sheet, which the page's script resolves.
"""

from __future__ import annotations

import dataclasses
import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import plotly.graph_objects as go
from markupsafe import Markup


@dataclasses.dataclass(frozen=True)
class Note:
    """A sentence or two; `command` adds what the page lacks, or continues from here."""

    text: str
    command: str | None = None
    kind: ClassVar[str] = "note"


GOOD, FAIR, BAD, UNKNOWN = "good", "fair", "bad", "unknown"


@dataclasses.dataclass(frozen=True)
class Card:
    """One finding: a question's `label`, its answer in short, and a sentence; `tone` is GOOD, FAIR, BAD or UNKNOWN."""

    label: str
    value: str
    text: str
    tone: str
    command: str | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of texts under `columns`; those numbered in `words` hold words, the others figures.

    is_folded: hidden until the reader opens it.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)
    is_folded: bool = False
    kind: ClassVar[str] = "table"


@dataclasses.dataclass(frozen=True)
class View:
    """One of several views of a plot: the arguments of Plotly's `update` for traces and for the layout."""

    label: str
    traces: Mapping[str, Any]
    layout: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure of Plotly as JSON, with its content in words (`text`) and in figures (`table`).

    views: the options of its selection, labelled `view_label`; the figure is first drawn with the first one.
    """

    identifier: str
    title: str
    figure: str
    text: str
    table: Table | None = None
    views: Sequence[View] = ()
    view_label: str = ""
    kind: ClassVar[str] = "plot"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A network as SVG under a heading."""

    title: str
    svg: Markup
    text: str
    kind: ClassVar[str] = "drawing"


@dataclasses.dataclass(frozen=True)
class Listing:
    """Preformatted text, such as a configuration, under a line that opens it."""

    title: str
    text: str
    kind: ClassVar[str] = "listing"


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The networks of the front, of which one is shown at a time."""

    networks: Sequence[Any]
    table: Table
    first: int
    kind: ClassVar[str] = "gallery"


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with its blocks."""

    identifier: str
    title: str
    blocks: Sequence[Any]


SERIES = tuple(f"var(--series-{number})" for number in range(1, 7))
QUIET, TEXT, GRID, SURFACE = "var(--quiet-mark)", "var(--text)", "var(--grid)", "var(--surface)"
LOW, HIGH = "var(--scale-low)", "var(--scale-high)"
HEIGHT = 380
"""Pixels of a plot."""
_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "tickcolor": GRID,
    "zeroline": False,
    "automargin": True,
}
_TITLE = {"standoff": 10}


def figure_json(traces: Sequence[Any], x_title: str, y_title: str, height: int = HEIGHT, **layout: Any) -> str:
    """The figure of some traces; `layout` overrides the common layout of all plots."""
    common = {
        "template": "none",
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 16, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": TEXT},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": SURFACE, "bordercolor": GRID, "font": {"color": TEXT, "size": 13}, "align": "left"},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
    }
    figure = go.Figure(list(traces), common)
    figure.update_xaxes(_AXIS, title={**_TITLE, "text": x_title})
    figure.update_yaxes(_AXIS, title={**_TITLE, "text": y_title})
    figure.update_layout(layout)
    return figure.to_json()


def counted(values: Sequence) -> dict[str, Any]:
    """An axis of whole numbers, such as epochs."""
    few = len(values) <= 12
    return {"tickformat": "d", **({"dtick": 1} if few else {"nticks": 10})}


def line(x: Sequence, y: Sequence, name: str, colour: str, **options: Any) -> go.Scatter:
    """A line with a point at each value; None leaves a gap."""
    marker = {"color": colour, "size": 6}
    return go.Scatter(
        x=list(x), y=list(y), name=name, mode="lines+markers", line={"color": colour}, marker=marker, **options
    )


def band(x: Sequence, low: Sequence, high: Sequence, name: str, colour: str) -> go.Scatter:
    """The area between two lines, as one closed outline."""
    return go.Scatter(
        x=[*x, *reversed(list(x))],
        y=[*high, *reversed(list(low))],
        name=name,
        fill="toself",
        fillcolor=colour,
        opacity=0.25,
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
    )


def heatmap(
    values: Sequence[Sequence[float | None]], texts: Sequence[Sequence[str]], choices: Sequence[str], unit: str
) -> go.Heatmap:
    """Values and the cells' texts [layers][choices], with one column per layer; None is an empty cell."""
    return go.Heatmap(
        z=[list(column) for column in zip(*values, strict=True)],
        text=[list(column) for column in zip(*texts, strict=True)],
        x=[str(layer + 1) for layer in range(len(values))],
        y=list(choices),
        texttemplate="%{text}",
        textfont={"color": TEXT},
        colorscale=[[0, LOW], [1, HIGH]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate=f"layer %{{x}}, %{{y}}: %{{z}} {unit}<extra></extra>",
    )


def heatmap_json(cells: go.Heatmap) -> str:
    """The figure of a heat map, high enough for its rows."""
    category = {"type": "category", "showgrid": False}
    return figure_json([cells], "layer", "", 110 + 30 * len(cells.y), xaxis=category, yaxis=category)


def vertical(x: float, text: str) -> dict[str, Any]:
    """Shapes and annotations of a dashed line at `x` with a text beside its upper end."""
    shape = {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": QUIET, "dash": "dash", "width": 1.5},
    }
    note = {"x": x, "y": 1, "yref": "paper", "xanchor": "right", "yanchor": "top", "text": text, "showarrow": False}
    return {"shapes": [shape], "annotations": [note]}


def safe(text: object) -> str:
    """Text escaped for Plotly, which interprets some HTML in names and hover texts."""
    return html.escape(str(text), quote=False)


def wrapped(text: str, width: int = 34) -> str:
    """`safe` text in lines that fit the hover label on a phone."""
    return "<br>".join(safe(part) for part in textwrap.wrap(text.replace(",", ", "), width)).replace(", ", ",")


_NAMES = {
    "accuracy": "estimated accuracy",
    "multiply_adds": "multiply-adds",
    "params": "parameters",
    "latency_ms": "latency",
    "file_bytes": "file size",
}
_UNITS = {"accuracy": "%", "multiply_adds": "millions", "params": "millions", "latency_ms": "ms", "file_bytes": "KiB"}
_SCALES = {"accuracy": 100.0, "multiply_adds": 1e-6, "params": 1e-6, "file_bytes": 1 / 1024}


def metric_name(metric: str) -> str:
    """Such as "multiply-adds"."""
    return _NAMES.get(metric, metric)


def axis_title(metric: str) -> str:
    """Such as "multiply-adds (millions)"."""
    unit = _UNITS.get(metric)
    return metric_name(metric) + (f" ({unit})" if unit else "")


def scaled(metric: str, value: float) -> float:
    """A value in the unit of its axis, to six digits after the point."""
    return round(value * _SCALES.get(metric, 1.0), 6)
