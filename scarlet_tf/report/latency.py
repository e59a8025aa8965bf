"""Output of `scarlet latency`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scarlet_tf.cost import count
from scarlet_tf.metric_table import MetricTable
from scarlet_tf.space import Architecture


def prediction(architecture: Architecture, table: MetricTable) -> dict[str, Any]:
    """A table's predictions for an architecture, with its costs and the table's error, in plain JSON types."""
    cost = count(architecture, table.input_size, table.num_classes)
    predicted = {name: values[0].item() for name, values in table.sums([architecture.choices]).items()}
    return {
        "architecture": architecture.to_string(),
        "input_size": table.input_size,
        "num_classes": table.num_classes,
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
        **predicted,
        **_error(table),
        "device": table.device,
    }


def table_figures(table: MetricTable) -> dict[str, Any]:
    """The range of each metric in the table's space, in plain JSON types."""
    bounds = {name: list(bounds) for name, bounds in table.bounds.items()}
    figures = {"table": table.source, "parts": len(table.entries), "reach": bounds}
    return {**figures, **_error(table), "device": table.device}


def _error(table: MetricTable) -> dict[str, Any]:
    """The table's error: for each network that corrected it, the prediction from the others."""
    calibration = table.details.get("calibration")
    if not isinstance(calibration, Mapping) or not isinstance(calibration.get("left_out"), Mapping):
        return {}
    return {"error": {**calibration["left_out"], "networks": len(calibration.get("networks", ()))}}


def lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """The same for people, a line a figure."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield f"{name}: " + ", ".join(f"{key} {inner}" for key, inner in value.items())
        else:
            yield f"{name}: {value:.6g}" if isinstance(value, float) else f"{name}: {value}"
