"""Plots of a supernet's training: accuracy with its deviation, one-shot accuracies, updates of choices, their importances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from scarlet_tf.base.words import percent, plural
from scarlet_tf.betanas.importances import softmax
from scarlet_tf.report.blocks import (
    SERIES,
    Note,
    Plot,
    Table,
    View,
    band,
    counted,
    figure_json,
    heatmap,
    heatmap_json,
    line,
)
from scarlet_tf.report.record import Record

Epochs = Sequence[Mapping[str, Any]]
BINS = 20
"""Bins of a histogram, between the least and the greatest accuracy in it."""


def training_plot(record: Record) -> Plot | None:
    """Accuracy in training and, if the supernet was monitored, of its panel of paths; None before the first epoch."""
    rows, watched = record.epochs, record.monitor.epochs if record.monitor else ()
    if not rows and not watched:
        return None
    traces, columns = [], ["epoch", "loss", "accuracy in training"]
    if watched:
        epochs, (low, mean, high) = _numbers(watched), _band(watched)
        traces = [
            band(epochs, low, high, "± one deviation", SERIES[0]),
            line(epochs, mean, "one-shot, mean of the panel", SERIES[0]),
        ]
        columns += ["one-shot mean", "deviation", "skip bias", "stability"]
    trained = [row for row in rows if row.get("accuracy") is not None]
    accuracies = [100 * row["accuracy"] for row in trained]
    traces.append(line(_numbers(trained), accuracies, "in training", SERIES[1]))
    figure = figure_json(traces, "epoch", "accuracy (%)", xaxis=counted(rows or watched))
    return Plot(
        "supernet-training",
        "Accuracy, epoch by epoch",
        figure,
        " ".join(_training_in_words(record, trained, watched)),
        Table("The supernet's epochs", columns, list(_epoch_rows(rows, watched))),
    )


def _numbers(rows: Epochs) -> list[int]:
    return [row["epoch"] + 1 for row in rows]


def _band(rows: Epochs) -> tuple[list[float], list[float], list[float]]:
    mean, deviation = (100 * np.array([row[key] for row in rows]) for key in ("mean", "deviation"))
    return tuple(values.round(4).tolist() for values in (mean - deviation, mean, mean + deviation))


def _training_in_words(record: Record, trained: Epochs, watched: Epochs) -> Iterator[str]:
    if watched and record.monitor:
        last, paths = watched[-1], len(record.monitor.panel)
        yield (
            f"After epoch {last['epoch'] + 1} the {paths} paths of the panel have a one-shot accuracy of"
            f" {percent(last['mean'])} with a deviation of {100 * last['deviation']:.1f} points, on"
            f" {plural(record.monitor.examples, 'validation image')}."
        )
    if trained:
        last = trained[-1]
        yield (
            f"In training, paths reached {percent(last['accuracy'])} of the training images in epoch {last['epoch'] + 1}."
        )


def _epoch_rows(rows: Epochs, watched: Epochs) -> Iterator[list[str]]:
    by_epoch, panel = {row["epoch"]: row for row in rows}, {row["epoch"]: row for row in watched}
    for epoch in sorted({*by_epoch, *panel}):
        row, seen = by_epoch.get(epoch, {}), panel.get(epoch, {})
        cells = [str(epoch + 1), _figure(row.get("loss"), "{:.3f}"), percent(row.get("accuracy"))]
        if watched:
            cells += [percent(seen.get("mean")), _figure(seen.get("deviation"), "{:.2%}")]
            cells += [_figure(seen.get("skip_bias"), "{:+.2%}"), _figure(seen.get("stability"), "{:.2f}")]
        yield cells


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


_OUTLINE = {"color": "rgba(0,0,0,0)", "line": {"color": SERIES[1], "width": 2}}


def histogram_plot(record: Record) -> Plot | None:
    """Distribution of one-shot accuracies: the monitor's random paths and the networks that the search evaluated."""
    watched = record.monitor.epochs if record.monitor else ()
    found = {
        f"random paths, epoch {watched[-1]['epoch'] + 1}" if watched else "": watched[-1]["accuracies"]
        if watched
        else [],
        "evaluated by the search": [row["accuracy"] for row in record.evaluated],
    }
    found = {name: values for name, values in found.items() if values}
    if not found or not record.view.has_histogram:
        return None
    every = np.concatenate([np.asarray(values, float) for values in found.values()])
    edges = np.linspace(every.min(), max(every.max(), every.min() + 1e-3), BINS + 1)
    counts = {name: np.histogram(values, edges)[0].tolist() for name, values in found.items()}
    middles, width = (100 * (edges[1:] + edges[:-1]) / 2).round(4).tolist(), 100 * (edges[1] - edges[0])
    bars = [
        go.Bar(
            x=middles, y=some, name=name, width=width, marker=_OUTLINE if i else {"color": SERIES[0], "opacity": 0.6}
        )
        for i, (name, some) in enumerate(counts.items())
    ]
    words = [
        f"{name[0].upper()}{name[1:]} ({len(values)}): {percent(min(values))} to {percent(max(values))}, mean"
        f" {percent(float(np.mean(values)))}."
        for name, values in found.items()
    ]
    rows = [
        [f"{100 * edges[i]:.2f} to {100 * edges[i + 1]:.2f} %", *(str(some[i]) for some in counts.values())]
        for i in range(BINS)
    ]
    figure = figure_json(bars, f"{record.known_by} accuracy (%)", "networks", 320, barmode="overlay", bargap=0)
    table = Table(f"Networks by {record.known_by} accuracy", ["accuracy", *counts], rows)
    return Plot("one-shot-histogram", f"Histogram of {record.known_by} accuracies", figure, " ".join(words), table)


def fairness(record: Record) -> list[Any]:
    """Updates of each choice: a sentence with a table, and a plot if they differ."""
    counts = record.view.update_counts(record)
    if counts is None:
        return []
    labels = [choice.label for choice in record.space.choices]
    rows = [[str(layer + 1), *map("{:,}".format, row)] for layer, row in enumerate(counts.tolist())]
    table = Table("Updates of each choice, by layer", ["layer", *labels], rows, is_folded=True)
    least, greatest = int(counts.min()), int(counts.max())
    if least == greatest:
        text = f"Fair: each of the {counts.size} choices was trained in {least:,} steps, neither more nor less."
        return [Note(text), table]
    text = f"Of the {counts.size} choices the least trained had {least:,} updates, the most trained {greatest:,}."
    text += " E3K5 stands for expansion 3 and a kernel of 5 x 5."
    texts = [["" if counts.size > 200 else str(value) for value in row] for row in counts.tolist()]
    cells = heatmap(counts.tolist(), texts, labels, "updates")
    return [Plot("fairness", "How often each choice was trained", heatmap_json(cells), text, table)]


DASHES = ("solid", "dash", "dot")


def importance_plot(record: Record) -> Plot | None:
    """The probability softmax(alpha) of each choice at the end; choices that were dropped are named with their step."""
    found = record.supernet.importances if record.supernet else None
    if found is None:
        return None
    alpha, dropped = np.array(found["alpha"], float), np.array(found["dropped_at"])
    shares = 100 * softmax(alpha, dropped < 0)
    values = [
        [None if d >= 0 else round(v, 1) for v, d in zip(*rows, strict=True)]
        for rows in zip(shares.tolist(), dropped, strict=True)
    ]
    texts = [["×" if value is None else f"{value:.0f}" for value in row] for row in values]
    labels = [choice.label for choice in record.space.choices]
    rows = [
        [str(layer + 1), *(f"dropped at step {d:,}" if d >= 0 else f"{v:.1f} %" for v, d in zip(*pair, strict=True))]
        for layer, pair in enumerate(zip(shares.tolist(), dropped.tolist(), strict=True))
    ]
    text = (
        f"{int((dropped >= 0).sum())} of {dropped.size} choices were dropped on the way (×). Numbers are probabilities in"
        f" percent; the surest layer gives {shares.max():.0f} % to one choice, the least sure one at most"
        f" {shares.max(axis=1).min():.0f} %. E3K5 stands for expansion 3 and a kernel of 5 x 5."
    )
    figure = heatmap_json(heatmap(values, texts, labels, "%"))
    return Plot("importances", "Importances at the end", figure, text, Table("Probabilities", ["layer", *labels], rows))


def alpha_plot(record: Record) -> Plot | None:
    """Course of alpha, epoch by epoch, with a view for each layer."""
    rows = [row for row in record.epochs if "alpha" in row]
    if not rows:
        return None
    labels, alpha = [choice.label for choice in record.space.choices], np.array([row["alpha"] for row in rows])
    remaining = np.array([row["dropped_at"] for row in rows]) < 0
    moved = np.where(remaining, alpha.round(5), np.nan)  # [epochs, layers, choices]
    epochs = [row["epoch"] + 1 for row in rows]
    columns = [[_gaps(moved[:, layer, choice]) for choice in range(len(labels))] for layer in range(alpha.shape[1])]
    traces = []
    for choice, label in enumerate(labels):
        trace = line(epochs, columns[0][choice], label, SERIES[choice % len(SERIES)])
        traces.append(trace.update(line_dash=DASHES[choice // len(SERIES) % len(DASHES)]))
    views = [View(f"layer {layer + 1}", {"y": some}) for layer, some in enumerate(columns)]
    surest = int(np.argmax(alpha[-1].max(axis=1)))
    text = (
        f"Alpha began at 0 for all choices. The greatest one now is layer {surest + 1}'s"
        f" {labels[int(np.argmax(alpha[-1][surest]))]}, {alpha[-1].max():.3f}. A line ends where its choice was dropped."
    )
    table = Table(
        "Alpha after the last epoch",
        ["layer", *labels],
        [[str(layer + 1), *(f"{value:.3f}" for value in row)] for layer, row in enumerate(alpha[-1].tolist())],
    )
    figure = figure_json(traces, "epoch", "alpha", xaxis=counted(epochs))
    return Plot("alpha", "How the importances moved", figure, text, table, views, "Layer")


def _gaps(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
