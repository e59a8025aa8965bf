"""The figure of the study of found networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from scarlet_tf.assessment.plots import save_figure

_MARKERS = "oD^sPv"


def save(path, rows: Sequence[Mapping], budget: float) -> None:
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
