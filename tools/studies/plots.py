"""The studies' figures as PNG files; redrawn after each result, so that an unfinished study has them, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scarlet_tf.assessment.plots import save_figure

_TITLES = {"recalibrated": "BN recalibrated", "running": "running BN statistics"}


def _panels(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, np.ndarray]:
    """A figure of inches, and its axes [rows, columns]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _different(rows: Iterable[Mapping], key: str) -> list:
    return list(dict.fromkeys(row[key] for row in rows))


def _finish(axes: Axes, xlabel: str | None = None, ylabel: str | None = None) -> None:
    axes.set(**{key: text for key, text in (("xlabel", xlabel), ("ylabel", ylabel)) if text})
    axes.grid(alpha=0.3)
    axes.legend()


def histograms(path, accuracies: Sequence[Mapping], measurements: Sequence[str]) -> None:
    """One-shot accuracies of the panel, all seeds together, a panel for each measurement and a colour for each supernet."""
    figure, (panels,) = _panels(9.6, 4.2, columns=len(measurements))
    names = _different(accuracies, "supernet")
    for axes, key in zip(panels, measurements, strict=True):
        values = [100 * np.concatenate([row[key] for row in accuracies if row["supernet"] == name]) for name in names]
        edges = np.histogram_bin_edges(np.concatenate(values), 30)
        for name, part in zip(names, values, strict=True):
            axes.hist(part, edges, alpha=0.6, label=name)
        axes.set_title(_TITLES[key])
        _finish(axes, "one-shot validation accuracy (%)", "paths")
    save_figure(figure, path)


def curves(path, histories: Sequence[Mapping]) -> None:
    """Training loss, training and validation accuracy by epoch: seeds thin, their mean (where all have come) thick."""
    shown = (("loss", "training loss", 1), ("accuracy", "training accuracy (%)", 100))
    shown += (("validation_accuracy", "validation accuracy (%)", 100),)
    figure, (panels,) = _panels(12.8, 4.2, columns=len(shown))
    for axes, (key, label, scale) in zip(panels, shown, strict=True):
        for number, skip in enumerate(_different(histories, "skip")):
            runs = [row["history"] for row in histories if row["skip"] == skip]
            lines = [[(entry["epoch"] + 1, scale * entry[key]) for entry in run if key in entry] for run in runs]
            for line in lines:
                axes.plot(*zip(*line, strict=True), color=f"C{number}", alpha=0.3, linewidth=0.8)
            axes.plot(*np.mean(lines, axis=0).T, color=f"C{number}", label=f"{skip} ({len(lines)} seeds)")
        _finish(axes, "epoch", label)
    save_figure(figure, path)


def heatmaps(path, matrices: Sequence[Mapping], labels: Sequence[str]) -> None:
    """Cosines between choices, in the mean over seeds: a row for each supernet, a column for each layer."""
    names, layers = _different(matrices, "supernet"), _different(matrices, "layer")
    figure, grid = _panels(1.5 + 4.2 * len(layers), 3.8 * len(names), len(names), len(layers))
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
    figure, ((axes,),) = _panels(2.5 + 0.7 * len(rows), 4.2)
    for number, (name, (_, marker, label)) in enumerate(series.items()):
        known = [(place, row) for place, row in enumerate(rows) if row[f"low_{name}"] is not None]
        places = [place + 0.12 * (2 * number - 1) for place, _ in known]
        low, high, tau = ([row[f"{key}_{name}"] for _, row in known] for key in ("low", "high", "tau"))
        axes.vlines(places, low, high, color=f"C{number}")
        axes.scatter(places, tau, marker=marker, color=f"C{number}", label=label)
    axes.set_xticks(range(len(rows)), [f"{row['supernet']}\nseed {row['seed']}" for row in rows])
    _finish(axes, ylabel="Kendall's tau, 95 % bootstrap interval")
    save_figure(figure, path)
