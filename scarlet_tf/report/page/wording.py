"""Names and values of metrics for people."""

from __future__ import annotations

from scarlet_tf.words import millions, percent

_NAMES = {
    "accuracy": "one-shot accuracy",
    "multiply_adds": "multiply-adds",
    "params": "parameters",
    "latency_ms": "latency",
    "file_bytes": "file size",
}
_UNITS = {"accuracy": "%", "multiply_adds": "millions", "params": "millions", "latency_ms": "ms", "file_bytes": "KiB"}
_SCALES = {"accuracy": 100.0, "multiply_adds": 1e-6, "params": 1e-6, "file_bytes": 1 / 1024}


def metric_name(metric: str) -> str:
    """Such as "multiply-adds"."""
    return _NAMES.get(metric, metric)


def metric_value(metric: str, value: float) -> str:
    """Such as "3.62 M" or "4.1 ms"."""
    if metric == "accuracy":
        return percent(value)
    if metric in ("multiply_adds", "params"):
        return millions(value)
    if metric == "latency_ms":
        return f"{value:.3g} ms"
    return f"{value / 1024:.1f} KiB" if metric == "file_bytes" else f"{value:.4g}"


def axis_title(metric: str) -> str:
    """Such as "multiply-adds (millions)"."""
    unit = _UNITS.get(metric)
    return metric_name(metric) + (f" ({unit})" if unit else "")


def scaled(metric: str, value: float) -> float:
    """A value in the unit of its axis, to six digits after the point."""
    return round(value * _SCALES.get(metric, 1.0), 6)
