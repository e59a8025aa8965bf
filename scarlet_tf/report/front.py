"""The front: the networks that a search found, the command that takes each, and their plot, accuracy against a cost."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from scarlet_tf.base.words import metric_text, plural, why_picked
from scarlet_tf.report.blocks import (
    QUIET,
    SERIES,
    SURFACE,
    TEXT,
    Plot,
    Table,
    axis_title,
    figure_json,
    metric_name,
    safe,
    scaled,
    vertical,
    wrapped,
)
from scarlet_tf.report.blocks import (
    View as PlotView,
)
from scarlet_tf.report.drawing import draw
from scarlet_tf.report.record import Record
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.objectives import score_of
from scarlet_tf.space.search_space import Architecture


@dataclasses.dataclass(frozen=True)
class FoundNetwork:
    """A network of the front, or a pick that is not on it; `number` counts from 1 in the order of the front.

    metrics: as in pareto.json. picks: its names among the picks, and "best". note: its outcome; command: to pick it.
    """

    number: int
    architecture: Architecture
    metrics: Mapping[str, float]
    picks: Sequence[str]
    on_front: bool
    is_retrained: bool
    note: str
    command: str | None
    drawing: Markup

    @property
    def title(self) -> str:
        """Such as "Network 3, pick 0"."""
        names = f", pick {' and '.join(self.picks)}" if self.picks else ""
        return f"Network {self.number}{names}"

    @property
    def choices(self) -> str:
        return self.architecture.to_string()

    @property
    def figures(self) -> list[tuple[str, str]]:
        """(name, value) of each metric for people."""
        return [(metric_name(name), metric_text(name, value)) for name, value in self.metrics.items()]


def found_networks(record: Record) -> list[FoundNetwork]:
    """All of the front by rising multiply-adds, then picks that are not on it."""
    found = record.front
    if found is None:
        return []
    names: dict[Architecture, list[str]] = {found.best.architecture: ["best"]} if found.pareto else {}
    for name, pick in zip(found.names, found.picks, strict=True):
        names.setdefault(pick.architecture, []).append(name)
    front = {model.architecture: model for model in found.pareto}
    models = front | {pick.architecture: pick for pick in found.picks if pick.architecture not in front}
    return [
        _found(record, number, model, names.get(architecture, []), architecture in front)
        for number, (architecture, model) in enumerate(models.items(), 1)
    ]


def _found(record: Record, number: int, model: Candidate, picks: Sequence[str], on_front: bool) -> FoundNetwork:
    architecture = model.architecture
    is_retrained = record.network is not None and record.network.architecture == architecture
    note, command = _way_on(record, number, architecture.to_string(), is_retrained)
    title = f"Network {number}: {architecture.space.name}:{architecture.to_string()}"
    drawing = draw(architecture, record.image_size, f"network-{number}-drawing", title)
    return FoundNetwork(number, architecture, model.metrics, picks, on_front, is_retrained, note, command, drawing)


def _way_on(record: Record, number: int, choices: str, is_retrained: bool) -> tuple[str, str | None]:
    if is_retrained and (network := record.network) is not None:
        reason = (
            ""
            if network.pick is None
            else f", {why_picked(network.pick, network.one_shot_accuracy, network.passed_over, record.known_by)}"
        )
        return f"This is the network that was retrained{reason}; see its files below.", None
    if record.network is None and choices == record.wanted:
        return "This is the network that the run takes; to retrain and export it:", record.command("run")
    note = "To retrain and export this network in a folder of its own, with the supernet and the search of this run:"
    if record.front is not None and record.front.stopped:
        note += " (the search was stopped before its end and is first brought there)"
    return note, pick_command(record, number, choices)


def pick_command(record: Record, number: int, choices: str) -> str:
    """Commands that copy supernet and search, then retrain and export the network of the front with these choices.

    A run folder keeps its configuration, `search.picks` and `retrain.pick` included, hence the new folder. There the copied
    supernet and search count as done, so nothing of them is computed again.
    """
    folder, parts = f"{record.folder}_network_{number}", record.view.kept
    if record.front is not None and "measured" in record.front.details:
        parts += ("finalists.json",)
    make = shlex.join(["mkdir", "-p", folder])
    copy = shlex.join(["cp", "-r", *(str(record.folder / part) for part in parts), folder])
    picks = f"search.picks={{chosen: {json.dumps(choices)}}}"
    run = record.new_run_command(f"network_{number}", "--set", picks, "--set", "retrain.pick=chosen")
    return f"{make} && {copy} && {run}"


def front_table(networks: Sequence[FoundNetwork]) -> Table:
    """The networks with their figures; the page adds a button to each row."""
    metrics = list(dict.fromkeys(name for network in networks for name in network.metrics))
    columns = ["network", "pick", *(metric_name(name) for name in metrics), "choices"]
    rows = [
        [
            str(network.number),
            ", ".join(network.picks) + (" (retrained)" if network.is_retrained else "")
            if network.picks or network.is_retrained
            else "",
            *(metric_text(name, network.metrics[name]) if name in network.metrics else "-" for name in metrics),
            network.choices,
        ]
        for network in networks
    ]
    return Table("Networks of the front", columns, rows, words=(0, 1, len(columns) - 1))


def shown_first(networks: Sequence[FoundNetwork], wanted: str | None) -> int:
    """The number of the network that the page shows at first: the retrained one, else the wanted, else the first."""
    retrained = next((network.number for network in networks if network.is_retrained), None)
    return retrained or next((network.number for network in networks if network.choices == wanted), 1)


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
    costs = [name for name in networks[0].metrics if name not in ("accuracy", "score")]
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
    yield (
        "evaluated",
        [_Point(row, "evaluated, not on the front", row["architecture"]) for row in _behind(record, networks)],
    )
    for name, belongs in (
        ("front", lambda network: network.on_front),
        ("picks", lambda network: network.picks),
        ("retrained", lambda network: network.is_retrained),
    ):
        yield name, [_Point(n.metrics, n.title, n.choices, n.number) for n in networks if belongs(n)]


def _behind(record: Record, networks: Sequence[FoundNetwork]) -> Sequence[Mapping[str, Any]]:
    """Evaluated networks that are not on the front, thinned out if there are too many."""
    front = {network.choices for network in networks if network.on_front}
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
    figures = [f"{metric_name(name)} {metric_text(name, point.metrics[name])}" for name in shown]
    return "<br>".join([f"<b>{safe(point.title)}</b>", *map(safe, figures), wrapped(point.choices)])


def _view(record: Record, cost: str, groups: Mapping[str, Sequence[_Point]]) -> PlotView:
    x = [_values(points, cost) for points in groups.values()]
    layout = {"xaxis.title.text": axis_title(cost), "shapes": [], "annotations": [], **_limit(record, cost)}
    return PlotView(metric_name(cost), {"x": [*x, []]}, layout)


def _limit(record: Record, cost: str) -> dict[str, Any]:
    """The line of the search's limit on this metric, if it has one."""
    search = record.settings["search"]
    bounds = search["upper_bounds"]
    if cost not in bounds:
        return {}
    return vertical(scaled(cost, bounds[cost]), f"limit {metric_text(cost, bounds[cost])}")


def _in_words(record: Record, front: Sequence[FoundNetwork]) -> str:
    if not front:
        return "No network is on the front."
    evaluated = f", of {len(record.evaluated):,} that were evaluated" if record.evaluated else ""
    cheapest, best = front[0], max(front, key=lambda network: score_of(network.metrics))
    ends = " and ".join(
        f"{metric_text('accuracy', network.metrics['accuracy'])} at"
        f" {metric_text('multiply_adds', network.metrics['multiply_adds'])} multiply-adds"
        for network in (cheapest, best)
    )
    return (
        f"{plural(len(front), 'network')} on the front{evaluated}; none beats another in everything: {_objectives(record)}."
        f" Cheapest and best: {ends} ({record.known_by}, on validation images). Choose a point, or a button in the table, to see"
        " the network."
    )


_BETTER = {("max", True): "more", ("min", True): "fewer", ("max", False): "higher", ("min", False): "lower"}


def _objectives(record: Record) -> str:
    """The objectives with their directions, as the search recorded them."""
    search = record.front.details.get("search", {}) if record.front is not None else {}
    found = search.get("directions") or search.get("objectives", {}).get("directions", {})
    names = [f"{_BETTER[way, name in COUNTED]} {metric_name(name)}" for name, way in found.items()]
    if "accuracy" in found and record.settings["search"].get("score") == "loss":
        names[list(found).index("accuracy")] = "lower loss on the validation images (what is drawn is accuracy)"
    return ", ".join(names) or "its objectives"
