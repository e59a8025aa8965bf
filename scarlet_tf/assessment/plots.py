"""Pictures of a ranking, one-shot against stand-alone accuracies, and of a comparison, hypervolume against evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from scarlet_tf.base.files import atomic_writer

SERIES = {
    "recalibrated": ("one_shot_recalibrated", "o", "one-shot, BN recalibrated"),
    "running": ("one_shot_running", "x", "one-shot, running BN statistics"),
    "predicted": ("predicted", "+", "predicted from the others"),
}
"""Forecasts of networks' accuracies, by their names in a ranking's `tau`: the key in a network's row, marker, words."""


def series_of(tau: Mapping[str, Mapping]) -> dict[str, tuple[str, str, str]]:
    """The part of SERIES that a ranking has."""
    return {name: found for name, found in SERIES.items() if name in tau}


def save_scatter(path, rows: Sequence[Mapping], tau: Mapping[str, Mapping], title: str = "") -> None:
    """Write a PNG: stand-alone accuracy (x) against what told it beforehand (y), in percent.

    rows: with "stand_alone" and the keys of SERIES; tau: figures of `kendall` for each series that there is.
    """
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for name, (key, marker, label) in series_of(tau).items():
        x = [100 * row["stand_alone"] for row in rows]
        y = [100 * row[key] for row in rows]
        axes.scatter(x, y, marker=marker, alpha=0.8, label=f"{label}: {tau_text(tau[name])}")
    axes.set_xlabel("validation accuracy, trained on its own (%)")
    axes.set_ylabel("validation accuracy, told beforehand (%)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def save_figure(figure: Figure, path) -> None:
    """Write a PNG atomically."""
    with atomic_writer(path) as file:
        figure.savefig(file, format="png", dpi=150)


def tau_text(figures: Mapping) -> str:
    """ "tau 0.71 (0.50 to 0.86)", the interval in brackets."""
    if figures["tau"] is None:
        return "tau undefined"
    interval = "" if figures["low"] is None else f" ({figures['low']:.2f} to {figures['high']:.2f})"
    return f"tau {figures['tau']:.2f}{interval}"


def save_curves(
    path, curves: Mapping[str, Sequence[np.ndarray]], target: float | None = None, ylabel: str = "hypervolume", title=""
) -> None:
    """Write a PNG: for each name the median of its curves, one per seed, and the range between their quartiles.

    A curve that ends early keeps its last value. target: a dashed line.
    """
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    length = max(len(curve) for some in curves.values() for curve in some)
    x = np.arange(1, length + 1)
    for number, (name, some) in enumerate(curves.items()):
        padded = np.array([np.pad(curve, (0, length - len(curve)), mode="edge") for curve in some])
        low, middle, high = np.quantile(padded, [0.25, 0.5, 0.75], axis=0)
        axes.plot(x, middle, color=f"C{number}", label=f"{name} ({len(some)} searches)")
        axes.fill_between(x, low, high, color=f"C{number}", alpha=0.2, linewidth=0)
    if target is not None:
        axes.axhline(target, color="grey", linestyle="--", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("evaluations")
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
