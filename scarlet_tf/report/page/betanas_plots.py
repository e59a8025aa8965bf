"""Plots of BetaNAS: the importances of the choices, their course, and the updates of each choice."""

from __future__ import annotations

import numpy as np

from scarlet_tf.betanas.importances import softmax
from scarlet_tf.report.page.blocks import Plot, Table, View
from scarlet_tf.report.page.figures import SERIES, counted, figure_json, heatmap, heatmap_json, line
from scarlet_tf.report.page.record import Record

DASHES = ("solid", "dash", "dot")


def importance_plot(record: Record) -> Plot | None:
    """The probability softmax(alpha) of each choice at the end; choices that were dropped are named with their step."""
    found = record.supernet.get("importances")
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
