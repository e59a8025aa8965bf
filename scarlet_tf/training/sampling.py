"""Which paths a training step uses, strict-fair permutations or one uniform path, and which the monitor watches.

Every draw is a pure function of (seed, step), so a resumed run draws what the uninterrupted one would have.
"""

from __future__ import annotations

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.search_space import SearchSpace

SAMPLINGS = ("strict_fair", "uniform")
# Up to this many paths a space is small enough to draw from without repeats.
_LISTED = 10**6
# Sets the panel's draws apart from those of training steps, which are seeded with (seed, step).
_PANEL_STREAM = (0, 7919)


def strict_fair_paths(space: SearchSpace, seed: int, step: int) -> np.ndarray:
    """int32 [num_choices, num_layers]: each column a random permutation, so m paths use every choice exactly once.

    FairNAS' strict fairness; the m gradients on one batch are summed before the optimizer moves.
    """
    rng = np.random.default_rng((seed, step))
    columns = rng.permuted(np.tile(np.arange(space.num_choices), (space.num_layers, 1)), axis=1)
    return np.ascontiguousarray(columns.T, np.int32)


def uniform_paths(space: SearchSpace, seed: int, step: int) -> np.ndarray:
    """int32 [1, num_layers]: one path, every choice drawn uniformly (SPOS, the baseline)."""
    rng = np.random.default_rng((seed, step))
    return rng.integers(space.num_choices, size=(1, space.num_layers), dtype=np.int32)


def drawn_path(weights: np.ndarray, seed: int, step: int) -> np.ndarray:
    """int32 [num_layers]: each layer's choice drawn in proportion to `weights` [num_layers, num_choices], all >= 0."""
    rng = np.random.default_rng((seed, step))
    cumulated = np.cumsum(weights, axis=1)
    whole = cumulated[:, -1]
    points = np.minimum(rng.random(len(weights)) * whole, np.nextafter(whole, 0))
    return (cumulated <= points[:, None]).sum(axis=1).astype(np.int32)


def sample_paths(sampling: str, space: SearchSpace, seed: int, step: int) -> np.ndarray:
    """The paths [num_paths, num_layers] of one step under the named sampling."""
    if sampling == "strict_fair":
        return strict_fair_paths(space, seed, step)
    if sampling == "uniform":
        return uniform_paths(space, seed, step)
    raise InputError(f"sampling: expected one of {SAMPLINGS}, got {sampling!r}")


def update_counts(sampling: str, space: SearchSpace, seed: int, first: int, last: int) -> np.ndarray:
    """int64 [num_layers, num_choices]: in how many of the steps first .. last - 1 each choice was trained.

    Strict fairness trains every choice in every step; uniform sampling's paths are drawn again from seed and step.
    """
    if sampling == "strict_fair":
        return np.full((space.num_layers, space.num_choices), last - first, np.int64)
    counts = np.zeros((space.num_layers, space.num_choices), np.int64)
    layers = np.arange(space.num_layers)
    for step in range(first, last):
        for path in sample_paths(sampling, space, seed, step):
            counts[layers, path] += 1
    return counts


def panel_paths(space: SearchSpace, count: int, seed: int) -> np.ndarray:
    """int32 [n, num_layers]: `count` random paths, a pure function of the seed; all of them in a smaller space."""
    rng = np.random.default_rng((seed, *_PANEL_STREAM))
    if space.size > _LISTED:  # two equal ones among a panel's are then too rare to matter
        return rng.integers(space.num_choices, size=(count, space.num_layers), dtype=np.int32)
    drawn = rng.choice(space.size, min(count, space.size), replace=False)
    return np.stack(np.unravel_index(drawn, (space.num_choices,) * space.num_layers), axis=1).astype(np.int32)
