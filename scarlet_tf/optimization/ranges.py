"""Bias-corrected activation ranges from moving averages that are still close to their initial values.

tfmot's ranges begin at -6 and 6 and move by 0.1 % per batch, so after a few batches they are mostly the initial values.
"""

from __future__ import annotations

DECAY = 0.999  # tfmot's, which cannot be set
LEAST_MAXIMUM = 1e-3  # a range must have a width


def debiased(value: float, start: float, batches: int, decay: float = DECAY) -> float:
    """The mean over `batches` updates, given the moving average before (`start`) and after them (`value`).

    value = k start + (1 - k) mean with k = decay^batches. The mean weighs later batches a little more.
    """
    kept = decay**batches
    return (value - kept * start) / (1 - kept)


def clamped(least: float, greatest: float) -> tuple[float, float]:
    """The range extended to contain 0, as zero padding and ReLU require."""
    return min(least, 0.0), max(greatest, LEAST_MAXIMUM)
