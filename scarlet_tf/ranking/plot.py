"""The scatter plot of one-shot against stand-alone accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from scarlet_tf.files import atomic_writer

SERIES = {"recalibrated": ("o", "BN recalibrated"), "running": ("x", "running BN statistics")}


def save_scatter(path, rows: Sequence[Mapping], tau: Mapping[str, Mapping], title: str = "") -> None:
    """Write a PNG: stand-alone accuracy (x) against both one-shot accuracies (y), in percent.

    rows: with "stand_alone", "one_shot_recalibrated" and "one_shot_running"; tau: figures of `kendall` for each series.
    """
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for name, (marker, label) in SERIES.items():
        x = [100 * row["stand_alone"] for row in rows]
        y = [100 * row[f"one_shot_{name}"] for row in rows]
        axes.scatter(x, y, marker=marker, alpha=0.8, label=f"{label}: {tau_text(tau[name])}")
    axes.set_xlabel("validation accuracy, trained on its own (%)")
    axes.set_ylabel("one-shot validation accuracy (%)")
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
