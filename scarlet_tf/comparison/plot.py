"""The plot of a comparison: hypervolume against evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from scarlet_tf.ranking.plot import save_figure


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
