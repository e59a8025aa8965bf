"""The studies' figures as PNG files; redrawn after each result, so that an unfinished study has them, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from scarlet_tf.assessment.plots import save_figure

_TITLES = {"recalibrated": "BN recalibrated", "running": "running BN statistics"}
_MARKERS = "oD^sPv"
_SHARING = {"none": "no sharing", "two_way": "two-way sharing", "four_way": "four-way sharing"}
_SUMMARY = (
    ("most_trained_share", "share of weight steps\nof a layer's most trained choice"),
    ("rank_correlation", "rank correlation,\nearly and final standing"),
    ("early_leader_wins", "layers whose early\nleader wins"),
    ("winner_most_trained", "layers whose winner\nwas trained most"),
)


def histograms(path, accuracies: Sequence[Mapping], measurements: Sequence[str]) -> None:
    """One-shot accuracies of the panel, all seeds together, a panel for each measurement and a colour for each supernet."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    names = list(dict.fromkeys(row["supernet"] for row in accuracies))
    for axes, measurement in zip(figure.subplots(1, len(measurements), squeeze=False)[0], measurements, strict=True):
        values = [
            100 * np.concatenate([row[measurement] for row in accuracies if row["supernet"] == name]) for name in names
        ]
        edges = np.histogram_bin_edges(np.concatenate(values), 30)
        for name, part in zip(names, values, strict=True):
            axes.hist(part, edges, alpha=0.6, label=name)
        axes.set_title(_TITLES[measurement])
        axes.set_xlabel("one-shot validation accuracy (%)")
        axes.set_ylabel("paths")
        axes.legend()
    save_figure(figure, path)


def curves(path, histories: Sequence[Mapping]) -> None:
    """Training loss, training and validation accuracy by epoch: seeds thin, their mean (where all have come) thick."""
    shown = (("loss", "training loss", 1), ("accuracy", "training accuracy (%)", 100))
    shown += (("validation_accuracy", "validation accuracy (%)", 100),)
    figure = Figure(figsize=(12.8, 4.2), layout="constrained")
    skips = list(dict.fromkeys(row["skip"] for row in histories))
    for axes, (key, label, scale) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        for number, skip in enumerate(skips):
            lines = [
                [(entry["epoch"] + 1, scale * entry[key]) for entry in row["history"] if key in entry]
                for row in histories
                if row["skip"] == skip
            ]
            for line in lines:
                axes.plot(*zip(*line, strict=True), color=f"C{number}", alpha=0.3, linewidth=0.8)
            axes.plot(*np.mean(lines, axis=0).T, color=f"C{number}", label=f"{skip} ({len(lines)} seeds)")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, path)


def heatmaps(path, matrices: Sequence[Mapping], labels: Sequence[str]) -> None:
    """Cosines between choices, in the mean over seeds: a row for each supernet, a column for each layer."""
    names = list(dict.fromkeys(row["supernet"] for row in matrices))
    layers = list(dict.fromkeys(row["layer"] for row in matrices))
    figure = Figure(figsize=(1.5 + 4.2 * len(layers), 3.8 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), len(layers), squeeze=False)
    for name, line in zip(names, grid, strict=True):
        for layer, axes in zip(layers, line, strict=True):
            found = [row["cosine"] for row in matrices if (row["supernet"], row["layer"]) == (name, layer)]
            image = axes.imshow(np.mean(found, axis=0), vmin=-1, vmax=1, cmap="coolwarm")
            axes.set_title(f"{name}, layer {layer}")
            axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
            axes.set_yticks(range(len(labels)), labels)
    figure.colorbar(image, ax=grid, label="cosine similarity of outputs")
    save_figure(figure, path)


def taus(path, rows: Sequence[Mapping], series: Mapping) -> None:
    """Kendall's tau of each supernet and seed with its 95 % interval."""
    figure = Figure(figsize=(2.5 + 0.7 * len(rows), 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (marker, label)) in enumerate(series.items()):
        shift = 0.12 * (2 * number - 1)
        known = [(place, row) for place, row in enumerate(rows) if row[f"low_{name}"] is not None]
        places = [place + shift for place, _ in known]
        low, high = ([row[f"{end}_{name}"] for _, row in known] for end in ("low", "high"))
        lines = axes.vlines(places, low, high)
        tau = [row[f"tau_{name}"] for _, row in known]
        axes.scatter(places, tau, marker=marker, color=f"C{number}", label=label)
        lines.set_color(f"C{number}")
    axes.set_xticks(range(len(rows)), [f"{row['supernet']}\nseed {row['seed']}" for row in rows])
    axes.set_ylabel("Kendall's tau, 95 % bootstrap interval")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def sharing_curves(path, histories: Sequence[Mapping], references: Sequence[Mapping]) -> None:
    """Accuracy against each network's own steps: a row for each quadruple, a column for each kind of sharing.

    A colour for each network: seeds thin, their mean thick; the legend has the accuracies after stand-alone training.
    """
    kinds = list(dict.fromkeys(row["sharing"] for row in histories))
    figure = Figure(figsize=(1 + 4 * len(kinds), 3.6 * len(references)), layout="constrained")
    grid = figure.subplots(len(references), len(kinds), squeeze=False, sharex=True, sharey="row")
    for number, (reference, line) in enumerate(zip(references, grid, strict=True)):
        for kind, axes in zip(kinds, line, strict=True):
            found = [row for row in histories if (row["quadruple"], row["sharing"]) == (number, kind)]
            _networks_curves(axes, found, reference)
            axes.set_title(f"quadruple {number}, {_SHARING[kind]}")
            axes.set_xlabel("steps of each network's own")
        line[0].set_ylabel("validation accuracy (%)")
        line[0].legend(fontsize="small")
    save_figure(figure, path)


def _networks_curves(axes, found: Sequence[Mapping], reference: Mapping) -> None:
    for member, (network, alone) in enumerate(zip(reference["networks"], reference["mean"], strict=True)):
        lines = [100 * np.array(row["accuracies"])[:, member] for row in found]
        for row, line in zip(found, lines, strict=True):
            axes.plot(row["steps"], line, color=f"C{member}", alpha=0.3, linewidth=0.8)
        if lines:
            label = f"{network}: {100 * alone:.1f} % alone"
            axes.plot(found[0]["steps"], np.mean(lines, axis=0), color=f"C{member}", marker=".", label=label)
    axes.grid(alpha=0.3)


def sharing_taus(path, rows: Sequence[Mapping]) -> None:
    """Kendall's tau of each quadruple (a colour) and seed, beside one another for each kind of sharing; a bar is the mean."""
    rows = sorted((row for row in rows if row["tau"] is not None), key=lambda row: row["quadruple"])
    kinds = [kind for kind in _SHARING if any(row["sharing"] == kind for row in rows)]
    figure = Figure(figsize=(2 + 1.6 * len(kinds), 4.2), layout="constrained")
    axes = figure.add_subplot()
    for place, kind in enumerate(kinds):
        some = [row for row in rows if row["sharing"] == kind]
        taus, colours = [row["tau"] for row in some], [f"C{row['quadruple']}" for row in some]
        axes.scatter(place + np.linspace(-0.25, 0.25, len(some)), taus, c=colours)
        axes.hlines(np.mean(taus), place - 0.35, place + 0.35, color="black")
    for number in sorted({row["quadruple"] for row in rows}):
        axes.scatter([], [], color=f"C{number}", label=f"quadruple {number}")
    axes.set_xticks(range(len(kinds)), [_SHARING[kind] for kind in kinds])
    axes.set_ylabel("Kendall's tau with stand-alone training")
    axes.set_ylim(-1.08, 1.08)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def importances_of_a_layer(path, histories: Sequence[Mapping], number: int, labels: Sequence[str]) -> None:
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


def importances(path, rows: Sequence[Mapping]) -> None:
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


def found(path, rows: Sequence[Mapping], budget: float) -> None:
    """Test accuracy of every network and seed against its multiply-adds, a marker a method; a line at the budget."""
    figure = Figure(figsize=(6.8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for number, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        chosen = [row for row in rows if row["method"] == method]
        x, y = [row["multiply_adds"] / 1e6 for row in chosen], [100 * row["test"] for row in chosen]
        axes.scatter(x, y, marker=_MARKERS[number], alpha=0.8, label=method)
    axes.axvline(budget / 1e6, color="gray", linestyle="--", linewidth=0.8)
    axes.set_xlabel("multiply-adds (millions)")
    axes.set_ylabel("test accuracy, trained on its own (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
