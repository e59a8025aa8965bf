"""Architectures drawn at random, stratified by multiply-adds."""

from __future__ import annotations

import dataclasses

import numpy as np

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.space import Architecture, SearchSpace

POOL = 20_000
"""A space of at most this many networks is divided completely; of a larger one, that many random networks are."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """An architecture, the stratum that it was drawn from (0 is the cheapest), and its stand-alone cost."""

    architecture: Architecture
    stratum: int
    multiply_adds: int
    params: int


def stratified_sample(costs: CostTable, count: int, strata: int, seed: int) -> list[Sample]:
    """`count` different architectures of the space of `costs`, by stratum and rising multiply-adds.

    The networks, ordered by multiply-adds, are cut into `strata` parts of equal number; from each part as many are
    drawn, without replacement. A remainder goes to the cheaper strata, one each. A pure function of
    its arguments. Raises InputError when the space has fewer networks than `count`.
    """
    space, rng = costs.space, np.random.default_rng(seed)
    if not 1 <= strata <= count:
        raise InputError(f"ranking.strata: expected from 1 to {count}, the number of architectures, got {strata}")
    if count > min(space.size, POOL):
        raise InputError(
            f"ranking.architectures: expected at most {min(space.size, POOL)} (the space has {space.size} networks),"
            f" got {count}"
        )
    pool = _pool(space, rng)
    multiply_adds, params = costs.count(pool)
    order = np.argsort(multiply_adds, kind="stable")
    samples = []
    # Equal division puts the remainder into the first parts, both of the pool and of the count, so no part is too small.
    shares = [len(part) for part in np.array_split(np.arange(count), strata)]
    for stratum, (members, share) in enumerate(zip(np.array_split(order, strata), shares, strict=True)):
        chosen = rng.choice(members, share, replace=False)
        for index in chosen[np.argsort(multiply_adds[chosen], kind="stable")]:
            architecture = Architecture(tuple(pool[index].tolist()), space)
            samples.append(Sample(architecture, stratum, int(multiply_adds[index]), int(params[index])))
    return samples


def _pool(space: SearchSpace, rng: np.random.Generator) -> np.ndarray:
    """Different choice indices [N, num_layers] in a fixed order: the whole space, or a random part of a large one."""
    if space.size <= POOL:
        axes = np.unravel_index(np.arange(space.size), (space.num_choices,) * space.num_layers)
        return np.stack(axes, axis=1)
    drawn = np.empty((0, space.num_layers), np.int64)
    while len(drawn) < POOL:  # repeats are few unless the space is hardly larger than the pool
        more = rng.integers(space.num_choices, size=(POOL, space.num_layers))
        drawn = np.unique(np.concatenate([drawn, more]), axis=0)
    return drawn[np.sort(rng.choice(len(drawn), POOL, replace=False))]
