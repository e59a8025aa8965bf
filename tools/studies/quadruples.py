"""Quadruples: four networks that agree but in two layers, two choices at each."""

from __future__ import annotations

import math

import numpy as np

from scarlet_tf.space import Architecture, SearchSpace

Quadruple = tuple[Architecture, Architecture, Architecture, Architecture]


def count_quadruples(space: SearchSpace) -> int:
    """Number of quadruples in the space: 0 with a single layer or choice."""
    layers, choices = space.num_layers, space.num_choices
    if layers < 2:
        return 0
    return math.comb(layers, 2) * math.comb(choices, 2) ** 2 * choices ** (layers - 2)


def draw_quadruples(space: SearchSpace, count: int, seed: int) -> list[Quadruple]:
    """`count` different quadruples, at most as many as the space has, drawn uniformly with `seed`.

    In lexicographic order, so the first two of a quadruple share the choice of the earlier of its two layers, and so do
    the last two.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[tuple, Quadruple] = {}
    while len(drawn) < count:
        quadruple = _draw(space, rng)
        drawn.setdefault(tuple(network.choices for network in quadruple), quadruple)
    return list(drawn.values())


def _draw(space: SearchSpace, rng: np.random.Generator) -> Quadruple:
    choices = list(space.sample(rng).choices)
    first, second = sorted(rng.choice(space.num_layers, 2, replace=False).tolist())
    pairs = [sorted(rng.choice(space.num_choices, 2, replace=False).tolist()) for _ in range(2)]
    networks = []
    for choices[first] in pairs[0]:
        for choices[second] in pairs[1]:
            networks.append(Architecture(tuple(choices), space))
    one, two, three, four = networks
    return one, two, three, four
