"""Ranges of activations out of moving averages that have not got far from where they began.

tfmot's ranges begin at -6 and 6 and move by 0.1 % a batch, so after a few batches they are little but that beginning.
"""

from __future__ import annotations

DECAY = 0.999  # tfmot's, which it does not let one set
LEAST_MAXIMUM = 1e-3  # a range must have a width


def debiased(value: float, start: float, batches: int, decay: float = DECAY) -> float:
    """The mean of what `batches` updates saw, given the moving average before (`start`) and after them (`value`).

    value = k start + (1 - k) mean with k = decay^batches. The mean weighs later batches a little more.
    """
    kept = decay**batches
    return (value - kept * start) / (1 - kept)


def clamped(least: float, greatest: float) -> tuple[float, float]:
    """The range with 0 inside, as zero padding and ReLU need it."""
    return min(least, 0.0), max(greatest, LEAST_MAXIMUM)
