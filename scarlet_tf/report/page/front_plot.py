"""The plot of the front: accuracy against a cost, with all evaluated networks in the background."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from scarlet_tf.report.page.blocks import Plot, View
from scarlet_tf.report.page.figures import QUIET, SERIES, SURFACE, TEXT, figure_json, safe, vertical, wrapped
from scarlet_tf.report.page.networks import FoundNetwork
from scarlet_tf.report.page.record import Record
from scarlet_tf.report.page.wording import axis_title, metric_name, metric_value, scaled
from scarlet_tf.words import plural

COUNTED = ("multiply_adds", "params")
"""Metrics that are numbers of something."""
MOST_EVALUATED = 3000
"""Evaluated networks that are drawn at most, equally far apart in the order of evaluation: more would slow the page down."""


@dataclasses.dataclass(frozen=True)
class _Point:
    """A network in the plot; a click on it shows the network `number`, None shows nothing."""

    metrics: Mapping[str, float]
    title: str
    choices: str
    number: int | None = None


def front_plot(record: Record, networks: Sequence[FoundNetwork]) -> Plot:
    """Front, picks and the retrained network over the first cost metric, with a view for each of the others."""
    costs = [name for name in networks[0].metrics if name != "accuracy"]
    groups = {name: points for name, points in _groups(record, networks) if points}
    traces = [_trace(name, points, costs[0]) for name, points in groups.items()]
    ring = {"color": "rgba(0,0,0,0)", "size": 22, "line": {"color": TEXT, "width": 2}}
    traces.append(
        go.Scatter(x=[], y=[], mode="markers", name="shown below", marker=ring, hoverinfo="skip", meta="ring")
    )
    figure = figure_json(traces, axis_title(costs[0]), axis_title("accuracy"), 430, **_limit(record, costs[0]))
    views = [_view(record, cost, groups) for cost in costs]
    front = [network for network in networks if network.on_front]
    return Plot(
        "front-plot",
        "Accuracy against cost",
        figure,
        _in_words(record, front),
        views=views,
        view_label="Horizontal axis",
    )


_MARKERS: dict[str, dict[str, Any]] = {
    "evaluated": {"color": QUIET},
    "front": {"color": SERIES[0], "size": 11, "line": {"color": SURFACE, "width": 1}},
    "picks": {"color": SERIES[1], "size": 14, "symbol": "diamond", "line": {"color": SURFACE, "width": 1}},
    "retrained": {"color": SERIES[2], "size": 19, "symbol": "star", "line": {"color": SURFACE, "width": 1}},
}


CROWD = 300
"""Number of points above which those not on the front are drawn smaller and paler."""
_FEW, _MANY = {"size": 6, "opacity": 0.75}, {"size": 4, "opacity": 0.4}


def _groups(record: Record, networks: Sequence[FoundNetwork]) -> Iterator[tuple[str, list[_Point]]]:
    yield "evaluated", [_Point(row, "evaluated, not on the front", row["architecture"]) for row in _behind(record)]
    for name, belongs in (
        ("front", lambda network: network.on_front),
        ("picks", lambda network: network.picks),
        ("retrained", lambda network: network.is_retrained),
    ):
        yield name, [_Point(n.metrics, n.title, n.choices, n.number) for n in networks if belongs(n)]


def _behind(record: Record) -> Sequence[Mapping[str, Any]]:
    """Evaluated networks that are not on the front, thinned out if there are too many."""
    front = {row["architecture"] for row in record.front["pareto"]}
    rows = [row for row in record.evaluated if row["architecture"] not in front]
    every = -(-len(rows) // MOST_EVALUATED) or 1
    return rows[::every]


def _trace(name: str, points: Sequence[_Point], cost: str) -> go.Scatter:
    return go.Scatter(
        x=_values(points, cost),
        y=_values(points, "accuracy"),
        mode="markers",
        name=name,
        marker=_MARKERS[name] | ((_MANY if len(points) > CROWD else _FEW) if name == "evaluated" else {}),
        customdata=[point.number for point in points],
        hovertext=[_hover(point) for point in points],
        hoverinfo="text",
    )


def _values(points: Sequence[_Point], metric: str) -> list[float | None]:
    return [scaled(metric, point.metrics[metric]) if metric in point.metrics else None for point in points]


def _hover(point: _Point) -> str:
    shown = [
        name for name in point.metrics if name in ("accuracy", "multiply_adds", "params", "latency_ms", "file_bytes")
    ]
    figures = [f"{metric_name(name)} {metric_value(name, point.metrics[name])}" for name in shown]
    return "<br>".join([f"<b>{safe(point.title)}</b>", *map(safe, figures), wrapped(point.choices)])


def _view(record: Record, cost: str, groups: Mapping[str, Sequence[_Point]]) -> View:
    x = [_values(points, cost) for points in groups.values()]
    layout = {"xaxis.title.text": axis_title(cost), "shapes": [], "annotations": [], **_limit(record, cost)}
    return View(metric_name(cost), {"x": [*x, []]}, layout)


def _limit(record: Record, cost: str) -> dict[str, Any]:
    """The line of the search's limit on this metric, if it has one."""
    search = record.settings["search"]
    limits = {**search["limits"], "multiply_adds": search["max_multiply_adds"]}
    if limits.get(cost) is None:
        return {}
    return vertical(scaled(cost, limits[cost]), f"limit {metric_value(cost, limits[cost])}")


def _in_words(record: Record, front: Sequence[FoundNetwork]) -> str:
    if not front:
        return "No network is on the front."
    evaluated = f", of {len(record.evaluated):,} that were evaluated" if record.evaluated else ""
    cheapest, best = front[0], max(front, key=lambda network: network.metrics["accuracy"])
    ends = " and ".join(
        f"{metric_value('accuracy', network.metrics['accuracy'])} at"
        f" {metric_value('multiply_adds', network.metrics['multiply_adds'])} multiply-adds"
        for network in (cheapest, best)
    )
    return (
        f"{plural(len(front), 'network')} on the front{evaluated}; none beats another in everything: {_objectives(record)}."
        f" Cheapest and most accurate: {ends} (one-shot, on validation images). Choose a point, or a button in the table, to see"
        " the network."
    )


_BETTER = {("max", True): "more", ("min", True): "fewer", ("max", False): "higher", ("min", False): "lower"}


def _objectives(record: Record) -> str:
    """The objectives with their directions, as the search recorded them."""
    search = record.front["search"]
    found = search.get("directions") or search.get("goals", {}).get("directions", {})
    names = [f"{_BETTER[way, name in COUNTED]} {metric_name(name)}" for name, way in found.items()]
    return ", ".join(names) or "its objectives"
