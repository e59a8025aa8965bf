"""Linear maps by least squares: a transformation from features to features, and a classifier of features."""

from __future__ import annotations

import logging

import numpy as np

from scarlet_tf.base.errors import InputError

logger = logging.getLogger("scarlet_tf")
RIDGE = 1e-5
"""Shrinkage of a map, of the mean square of what it reads."""
HEAD_RIDGE = 1.0
"""The same of a classifier, which reads more features than there may be images."""
SCALES = tuple(2.0**power for power in np.arange(0, 7.5, 0.5))
ROUNDING = 1e-6
"""Deviation of a feature, relative to its mean, up to which it is taken for a constant."""


class LeastSquares:
    """The linear map from x [N, c_in] to y [N, c_out] of least squared error, of which rows are added one after another."""

    def __init__(self, num_inputs: int, num_outputs: int):
        self._squares, self._products = np.zeros((num_inputs, num_inputs)), np.zeros((num_inputs, num_outputs))

    def add(self, x, y) -> None:
        """Further rows of x and y, in all but their last axis."""
        x, y = (np.asarray(rows, float).reshape(-1, rows.shape[-1]) for rows in (x, y))
        self._squares += x.T @ x
        self._products += x.T @ y

    def solve(self, ridge: float = RIDGE) -> np.ndarray:
        """The map [c_in, c_out], shrunk by `ridge` times the mean square of x; zeros where float32 cannot hold it."""
        size = len(self._squares)
        scale = float(np.trace(self._squares) / size) or 1.0
        found = np.linalg.solve(self._squares / scale + ridge * np.eye(size), self._products / scale)
        if np.abs(found).max() < np.finfo(np.float32).max:
            return found
        logger.warning("least squares: a linear map of %d to %d channels stays zero: it exceeds float32", *found.shape)
        return np.zeros_like(found)


def fitted_classifier(features: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(kernel [C, num_classes], bias [num_classes]) from features [N, C] and labels [N].

    Ridge regression to the labels as one-hot rows, scaled so that the cross-entropy is least of every fourth image, if the
    others are fitted. Features that are the same for all images, within ROUNDING, do not count. InputError for a label that
    is no class.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise InputError(f"labels: expected classes from 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}")
    features = np.asarray(features, float)
    held_out = np.arange(len(labels)) % 4 == 3
    scale = 1.0
    if np.any(held_out):
        kernel, bias = _regression(features[~held_out], labels[~held_out], num_classes)
        scores = features[held_out] @ kernel + bias
        scale = min(SCALES, key=lambda scale: _cross_entropy(scale * scores, labels[held_out]))
    kernel, bias = _regression(features, labels, num_classes)
    return scale * kernel, scale * bias


def _regression(features: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    shares, centre = np.bincount(labels, minlength=num_classes) / len(labels), features.mean(axis=0)
    moved = features - centre
    moved[:, np.abs(moved).max(axis=0) <= ROUNDING * np.abs(centre)] = 0
    fit = LeastSquares(features.shape[1], num_classes)
    fit.add(moved, np.eye(num_classes)[labels] - shares)
    kernel = fit.solve(HEAD_RIDGE)
    return kernel, shares - centre @ kernel


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    top = logits.max(axis=1, keepdims=True)
    normalizers = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return float(np.mean(normalizers - logits[np.arange(len(labels)), labels]))
