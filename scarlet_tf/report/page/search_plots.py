"""Plots of the search: hypervolume, the outcome of its operators, and comparisons of searches."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from scarlet_tf.report.page.blocks import Plot, Table
from scarlet_tf.report.page.figures import QUIET, SERIES, counted, figure_json, line, safe
from scarlet_tf.report.page.record import Record
from scarlet_tf.words import interval, plural


def hypervolume_plot(record: Record) -> Plot | None:
    """Hypervolume after each tell; None if there is only one value."""
    values = record.front["hypervolume"] if record.front else record.hypervolume
    if len(values) < 2:
        return None
    # NSGA-II's first tell is of 2 N networks, which count as two generations.
    first, step = (2, "generation") if record.algorithm == "nsga2" else (1, "told")
    steps = list(range(first, first + len(values)))
    figure = figure_json(
        [line(steps, values, "hypervolume", SERIES[0])], step, "hypervolume (share)", 320, xaxis=counted(steps)
    )
    rise = values[-1] - values[len(values) // 2]
    text = (
        f"From {values[0]:.3f} to {values[-1]:.3f} of the box that space and bounds fix; the second half of the search"
        f" added {rise:.3f}."
    )
    table = Table(
        "Hypervolume", [step, "hypervolume"], [[str(s), f"{v:.4f}"] for s, v in zip(steps, values, strict=True)]
    )
    return Plot("hypervolume", "Hypervolume of the front", figure, text, table)


_FATES = {"children": "children", "evaluated": "evaluated", "survived": "survived", "front": "reached the front"}


def operators_plot(record: Record) -> Plot | None:
    """Outcome of each operator's children; None for a search without operators."""
    operators = record.front.get("operators") or {}
    if not operators:
        return None
    names = list(operators)
    bars = [
        go.Bar(x=names, y=[operators[name][key] for name in names], name=label, marker={"color": SERIES[i]})
        for i, (key, label) in enumerate(_FATES.items())
    ]
    rows = [
        [name, *(str(row[key]) for key in (*_FATES, "failed")), _points(row["mean_accuracy_change"])]
        for name, row in operators.items()
    ]
    table = Table(
        "Children of each operator", ["operator", *_FATES.values(), "failed", "mean change of accuracy"], rows
    )
    best = max(names, key=lambda name: operators[name]["front"] / max(1, operators[name]["children"]))
    row = operators[best]
    text = f"The greatest share of children on the front is {best}'s: {row['front']} of {row['children']}."
    figure = figure_json(bars, "", "networks", 340, barmode="group")
    return Plot("operators", "Mutation operators", figure, text, table)


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.2f} points"


def comparison_plot(record: Record) -> Plot | None:
    """Hypervolume against evaluations, a line for each search of `scarlet search --compare`."""
    compared = record.comparison
    if not compared:
        return None
    traces: list[Any] = []
    for number, (name, row) in enumerate(compared["algorithms"].items()):
        for search in row["searches"]:
            steps = {"x": [at for at, _ in search["hypervolume"]], "y": [value for _, value in search["hypervolume"]]}
            colour = {"color": SERIES[number % len(SERIES)], "shape": "hv", "width": 1.5}
            first = search is row["searches"][0]
            label = f"{safe(name)}, seed {search['seed']}"
            traces.append(
                go.Scatter(
                    **steps, mode="lines", line=colour, name=safe(name), legendgroup=name, showlegend=first, text=label
                )
            )
    target = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": compared["target"], "y1": compared["target"]}
    target["line"] = {"color": QUIET, "dash": "dash", "width": 1.5}
    figure = figure_json(traces, "evaluations", "hypervolume (share)", shapes=[target], xaxis={"type": "log"})
    rows = [
        [
            name,
            str(row["seeds"]),
            interval(row["hypervolume"], ".4f"),
            interval(row["evaluations_to_target"], ".0f"),
            interval(row.get("ratio_to_random"), ".2f"),
        ]
        for name, row in compared["algorithms"].items()
    ]
    columns = ["search", "seeds", "hypervolume", "evaluations to target", "ratio to random"]
    text = (
        f"{len(rows)} kinds of search with {plural(compared['evaluations'], 'evaluation')} each; the dashed line is the target"
        f" of {compared['target']:.4f}. Medians over seeds with 95 % intervals are in the table."
    )
    return Plot("comparison", "Searches compared", figure, text, Table("Medians over seeds", columns, rows))
