"""Seeded subsets of labelled examples that keep the shares of the classes."""

from __future__ import annotations

import numpy as np

from scarlet_tf.errors import InputError


def draw(labels: np.ndarray, num_examples: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of `num_examples` random examples; each class keeps its share (largest remainders)."""
    labels = np.asarray(labels)
    if not 0 < num_examples <= len(labels):
        raise InputError(f"expected from 1 to {len(labels)} examples, got {num_examples}")
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas = _quotas(counts, num_examples, rng)
    # Shuffle, then sort by class: within a class the order is random, and its first `quota` are taken.
    order = rng.permutation(len(labels))
    order = order[np.argsort(classes[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(labels)) - np.repeat(starts, counts)
    return np.sort(order[rank < np.repeat(quotas, counts)])


def hold_out(labels: np.ndarray, num_examples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(kept, held-out) sorted indices, both stratified."""
    held_out = draw(labels, num_examples, rng)
    kept = np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True)
    return kept, held_out


def _quotas(counts: np.ndarray, num_examples: int, rng: np.random.Generator) -> np.ndarray:
    """Integers near counts * num_examples / sum(counts), at least 1 each where there are enough examples."""
    exact = counts * (num_examples / counts.sum())
    quotas = np.minimum(np.floor(exact).astype(np.int64), counts)
    if num_examples >= len(counts):
        quotas = np.maximum(quotas, 1)
    # Give to the largest remainders, or take back the excess from the minimum of 1; ties are broken at random.
    while quotas.sum() != num_examples:
        step = 1 if quotas.sum() < num_examples else -1
        allowed = quotas < counts if step > 0 else quotas > 1
        gap = np.where(allowed, step * (exact - quotas), -np.inf)
        quotas[rng.choice(np.flatnonzero(gap == gap.max()))] += step
    return quotas
