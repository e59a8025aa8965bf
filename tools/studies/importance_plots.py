"""The figures of the study of importances as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from scarlet_tf.assessment.plots import save_figure

_SUMMARY = (
    ("most_trained_share", "share of weight steps\nof a layer's most trained choice"),
    ("rank_correlation", "rank correlation,\nearly and final standing"),
    ("early_leader_wins", "layers whose early\nleader wins"),
    ("winner_most_trained", "layers whose winner\nwas trained most"),
)


def layer(path, histories: Sequence[Mapping], number: int, labels: Sequence[str]) -> None:
    """Plot of one layer, one column per variant with its first seed: alpha, and each epoch's share of training; x: dropped."""
    firsts: dict[str, Mapping] = {}
    for run in histories:
        firsts.setdefault(run["variant"], run)
    figure = Figure(figsize=(1 + 4.6 * len(firsts), 6.4), layout="constrained")
    grid = figure.subplots(2, len(firsts), sharex="all", sharey="row", squeeze=False)
    for (top, bottom), (name, run) in zip(grid.T, firsts.items(), strict=True):
        alpha, trained, dropped = (
            np.array([row[key][number] for row in run["history"]]) for key in ("alpha", "trained", "dropped_at")
        )
        steps = np.diff(trained, axis=0, prepend=0)
        shares = 100 * steps / np.maximum(1, steps.sum(axis=1, keepdims=True))
        for choice, label in enumerate(labels):
            gone = np.flatnonzero(dropped[:, choice] >= 0)
            end = gone[0] + 1 if len(gone) else len(alpha)
            for axes, values in ((top, alpha), (bottom, shares)):
                axes.plot(range(1, end + 1), values[:end, choice], color=f"C{choice}", label=label)
                if len(gone):
                    axes.plot(end, values[end - 1, choice], "x", color=f"C{choice}", markersize=9, markeredgewidth=2)
        top.set_title(f"{name}, layer {number}, seed {run['seed']}")
        bottom.set_xlabel("epoch")
        for axes in (top, bottom):
            axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel("alpha")
    grid[1, 0].set_ylabel("share of the epoch's training (%)")
    grid[0, 0].legend()
    save_figure(figure, path)


def summary(path, rows: Sequence[Mapping]) -> None:
    """Each figure of each seed by variant, the means as bars."""
    names = list(dict.fromkeys(row["variant"] for row in rows))
    figure = Figure(figsize=(3 * len(_SUMMARY), 3.6), layout="constrained")
    for axes, (key, label) in zip(figure.subplots(1, len(_SUMMARY)), _SUMMARY, strict=True):
        for place, name in enumerate(names):
            values = [row[key] for row in rows if row["variant"] == name]
            axes.bar(place, np.mean(values), width=0.6, color=f"C{place}", alpha=0.4)
            axes.scatter(place + np.linspace(-0.12, 0.12, len(values)), values, color=f"C{place}")
        axes.set_xticks(range(len(names)), names)
        axes.set_title(label, fontsize="medium")
        axes.grid(axis="y", alpha=0.3)
    save_figure(figure, path)
