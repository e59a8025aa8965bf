"""Plots of networks that were trained on their own: the retrained one's epochs, and the ranking."""

from __future__ import annotations

import plotly.graph_objects as go

from scarlet_tf.ranking.plot import SERIES as MEASURED
from scarlet_tf.ranking.plot import tau_text
from scarlet_tf.report.page.blocks import Plot, Table
from scarlet_tf.report.page.figures import SERIES, counted, figure_json, line, safe, wrapped
from scarlet_tf.report.page.record import Record
from scarlet_tf.words import percent, plural


def retraining_plot(record: Record) -> Plot | None:
    """Accuracy of the network that was retrained or fine-tuned, epoch by epoch."""
    rows = record.retrained.get("history", ())
    if not rows:
        return None
    series = {"accuracy": "training images", "val_accuracy": "validation images"}
    traces, cells = [], []
    for number, (key, label) in enumerate(series.items()):
        known = [row for row in rows if row.get(key) is not None]
        values = [100 * row[key] for row in known]
        traces.append(line([row["epoch"] + 1 for row in known], values, label, SERIES[1 - number]))
    for row in rows:
        cells.append([str(row["epoch"] + 1), f"{row['loss']:.3f}", *(percent(row.get(key)) for key in series)])
    last, test = (record.retrained[split] for split in ("validation", "test"))
    text = (
        f"After {plural(len(rows), 'epoch')} it recognises {percent(last['accuracy'])} of"
        f" {plural(last['num_examples'], 'validation image')} and {percent(test['accuracy'])} of"
        f" {plural(test['num_examples'], 'test image')}."
    )
    figure = figure_json(traces, "epoch", "accuracy (%)", 340, xaxis=counted(rows))
    table = Table("Epochs", ["epoch", "loss", *series.values()], cells)
    return Plot("retraining", "Its training", figure, text, table)


def ranking_plot(record: Record) -> Plot | None:
    """One-shot against stand-alone accuracy of the networks that `scarlet rank` trained."""
    ranking = record.ranking
    if not ranking:
        return None
    rows, symbols = ranking["networks"], ("circle", "x")
    traces = [
        go.Scatter(
            x=[100 * row["stand_alone"] for row in rows],
            y=[100 * row[f"one_shot_{name}"] for row in rows],
            mode="markers",
            name=safe(label),
            marker={"color": SERIES[number], "size": 10, "symbol": symbols[number]},
            hovertext=[wrapped(row["architecture"]) for row in rows],
            hovertemplate="%{hovertext}<br>alone %{x:.2f} %, one-shot %{y:.2f} %<extra></extra>",
        )
        for number, (name, (_, label)) in enumerate(MEASURED.items())
    ]
    figure = figure_json(traces, "accuracy, trained on its own (%)", "one-shot accuracy (%)")
    found = "; ".join(f"{label}: {tau_text(ranking['tau'][name])}" for name, (_, label) in MEASURED.items())
    text = (
        f"{plural(len(rows), 'network')} of the space, from cheap to expensive, each trained on its own. Kendall's tau with its"
        f" 95 % interval: {found}. 1 is the same order, 0 none."
    )
    columns = ["choices", "M multiply-adds", "trained on its own", *(label for _, label in MEASURED.values())]
    cells = [
        [
            row["architecture"],
            f"{row['multiply_adds'] / 1e6:.2f}",
            percent(row["stand_alone"]),
            *(percent(row[f"one_shot_{name}"]) for name in MEASURED),
        ]
        for row in rows
    ]
    return Plot(
        "one-shot-against-alone", "One-shot against stand-alone", figure, text, Table("The networks", columns, cells)
    )
