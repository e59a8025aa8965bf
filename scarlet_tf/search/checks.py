"""Checks of what comes from outside: the search's settings and what evaluations answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np

from scarlet_tf.errors import InputError

EVALUATION = 2
"""The number of what the package's Evaluator answers: journals keep it, so that figures of two meanings are not mixed.

1: BN is recalibrated by a moving average, which forgets earlier batches. 2: by the mean of all batches.
"""


class BadMetrics(InputError):
    """An evaluation answered something that cannot be one of the metrics it has to give."""


def checked_accuracy(metrics: Mapping) -> float:
    """The accuracy among an evaluation's metrics; BadMetrics unless it is there and a number from 0 to 1."""
    if "accuracy" not in metrics:
        raise BadMetrics(f"metrics.accuracy: missing; got {sorted(metrics)}")
    try:
        accuracy = float(metrics["accuracy"])
    except (TypeError, ValueError):
        accuracy = math.nan
    if not 0 <= accuracy <= 1:
        raise BadMetrics(f"metrics.accuracy: expected a number from 0 to 1, got {metrics['accuracy']!r}")
    return accuracy


def check_settings(population_size, generations, max_multiply_adds, min_accuracy, seed) -> None:
    """Raises InputError that names the key under `search`, what was expected and what came."""
    for key, value, low in (
        ("population_size", population_size, 2),
        ("generations", generations, 2),
        ("seed", seed, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise InputError(f"search.{key}: expected an integer >= {low}, got {value!r}")
    if max_multiply_adds is not None and not (is_number(max_multiply_adds) and 0 < max_multiply_adds < math.inf):
        raise InputError(f"max_multiply_adds: expected a finite number > 0, or null, got {max_multiply_adds!r}")
    if min_accuracy is not None and not (is_number(min_accuracy) and 0 <= min_accuracy < 1):
        raise InputError(f"min_accuracy: expected a number from 0 up to 1, or null, got {min_accuracy!r}")


def is_number(value) -> TypeGuard[float]:
    """True for a real number, infinity included; False for NaN and truth values."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and not math.isnan(value)


def are_weights(weights) -> bool:
    """True for a sequence of finite numbers >= 0 that are not all 0."""
    if not isinstance(weights, Sequence) or isinstance(weights, str):
        return False
    return all(is_number(w) and 0 <= w < math.inf for w in weights) and sum(weights) > 0
