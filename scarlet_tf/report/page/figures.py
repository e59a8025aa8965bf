"""Figures of Plotly as JSON; their colours are variables of the page's style sheet, which the page's script resolves."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

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
