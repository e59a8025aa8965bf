"""Which paths a training step uses, strict-fair permutations, one uniform path or a sandwich, and which the monitor watches.

Every draw is a pure function of (seed, step), so a resumed run draws what the uninterrupted one would have.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.choices import Choice
from scarlet_tf.space.cost import block_cost, reduced
from scarlet_tf.space.lowering import Layer, block_spec
from scarlet_tf.space.search_space import SearchSpace

SAMPLINGS = ("strict_fair", "uniform", "sandwich")
SANDWICH_RANDOM = 2
"""Random paths of a sandwich, beside the largest and the smallest, as in universally slimmable networks."""

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


def uniform_paths(space: SearchSpace, seed: int, step: int, count: int = 1) -> np.ndarray:
    """int32 [count, num_layers]: paths, every choice drawn uniformly; one a step is SPOS, the baseline."""
    rng = np.random.default_rng((seed, step))
    return rng.integers(space.num_choices, size=(count, space.num_layers), dtype=np.int32)


def sandwich_paths(space: SearchSpace, seed: int, step: int, num_random: int = SANDWICH_RANDOM) -> np.ndarray:
    """int32 [2 + num_random, num_layers]: the largest path, the smallest one, then uniform draws.

    The sandwich rule (Yu and Huang, arXiv:1903.05134; BigNAS, arXiv:2003.11142). A choice may be in several of them.
    """
    drawn = uniform_paths(space, seed, step, num_random)
    return np.concatenate([[largest_path(space), smallest_path(space)], drawn], dtype=np.int32)


def largest_path(space: SearchSpace) -> tuple[int, ...]:
    """Each layer's choice of the most multiply-adds, of equals the one of most parameters, then the first.

    In a space around a network, of the choices with the layer's own kernel: the network itself.
    """
    return _extreme_path(space, max)


def smallest_path(space: SearchSpace) -> tuple[int, ...]:
    """Each layer's choice of the fewest multiply-adds, the skip where there is one; of equals as in `largest_path`."""
    return _extreme_path(space, min)


@functools.lru_cache(maxsize=64)
def _extreme_path(space: SearchSpace, extreme: Callable) -> tuple[int, ...]:
    """Costs are those of blocks of full width at the space's size; a skip costs nothing, as in a stand-alone network."""
    size, path = reduced((space.input_size, space.input_size), space.stem_stride), []
    for layer in space.layers:
        blocks = [block_spec(space, layer, choice, layer.in_channels, "nothing") for choice in space.choices]
        costs = [dataclasses.astuple(block_cost(block, size)) if block else (0, 0) for block in blocks]
        own = [cost for cost, choice in zip(costs, space.choices, strict=True) if _is_own(layer, choice)]
        path.append(costs.index(extreme(own if own and extreme is max else costs)))
        size = reduced(size, layer.stride)
    return tuple(path)


def _is_own(layer: Layer, choice: Choice) -> bool:
    return choice.share > 0 and choice.kernel_size == layer.kernel_size


def drawn_path(weights: np.ndarray, seed: int, step: int) -> np.ndarray:
    """int32 [num_layers]: each layer's choice drawn in proportion to `weights` [num_layers, num_choices], all >= 0."""
    rng = np.random.default_rng((seed, step))
    cumulated = np.cumsum(weights, axis=1)
    whole = cumulated[:, -1]
    points = np.minimum(rng.random(len(weights)) * whole, np.nextafter(whole, 0))
    return (cumulated <= points[:, None]).sum(axis=1).astype(np.int32)


def sample_paths(
    sampling: str, space: SearchSpace, seed: int, step: int, num_random: int = SANDWICH_RANDOM
) -> np.ndarray:
    """The paths [num_paths, num_layers] of one step under the named sampling; `num_random`: of a sandwich."""
    if sampling == "strict_fair":
        return strict_fair_paths(space, seed, step)
    if sampling == "uniform":
        return uniform_paths(space, seed, step)
    if sampling == "sandwich":
        return sandwich_paths(space, seed, step, num_random)
    raise InputError(f"sampling: expected one of {SAMPLINGS}, got {sampling!r}")


def paths_of_a_step(sampling: str, space: SearchSpace, num_random: int = SANDWICH_RANDOM) -> int:
    """Number of paths that `sample_paths` gives, whose gradients a step sums."""
    return {"strict_fair": space.num_choices, "uniform": 1, "sandwich": 2 + num_random}[sampling]


def update_counts(
    sampling: str, space: SearchSpace, seed: int, first: int, last: int, num_random: int = SANDWICH_RANDOM
) -> np.ndarray:
    """int64 [num_layers, num_choices]: in how many of the steps first .. last - 1 each choice was trained.

    Strict fairness trains every choice in every step; other paths are drawn again from seed and step. A choice that is in
    several paths of a step is moved once.
    """
    if sampling == "strict_fair":
        return np.full((space.num_layers, space.num_choices), last - first, np.int64)
    counts = np.zeros((space.num_layers, space.num_choices), np.int64)
    layers = np.arange(space.num_layers)
    for step in range(first, last):
        # Once for each choice, however many of the step's paths it is in: an indexed sum does not add up repeats.
        counts[layers, sample_paths(sampling, space, seed, step, num_random)] += 1
    return counts


def panel_paths(space: SearchSpace, count: int, seed: int) -> np.ndarray:
    """int32 [n, num_layers]: `count` random paths, a pure function of the seed; all of them in a smaller space."""
    rng = np.random.default_rng((seed, *_PANEL_STREAM))
    if space.size > _LISTED:  # two equal ones among a panel's are then too rare to matter
        return rng.integers(space.num_choices, size=(count, space.num_layers), dtype=np.int32)
    drawn = rng.choice(space.size, min(count, space.size), replace=False)
    return np.stack(np.unravel_index(drawn, (space.num_choices,) * space.num_layers), axis=1).astype(np.int32)
