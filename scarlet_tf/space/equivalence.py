"""Equal networks under different names: blocks of one stage that can trade places with a skip."""

from __future__ import annotations

import dataclasses

import numpy as np

from scarlet_tf.space.lowering import Layer
from scarlet_tf.space.search_space import SearchSpace


def skip_of(space: SearchSpace) -> int | None:
    """Index of the choice that is the skip; None for a space without one."""
    return next((index for index, choice in enumerate(space.choices) if choice.is_skip), None)


def interchangeable(space: SearchSpace) -> list[int]:
    """Layers i that may trade choices with layer i + 1 if one of the two is skipped: the stand-alone network stays the same.

    A skipped layer without a stride is absent from it, so what counts is that the other's block is the same in either place.
    """
    if skip_of(space) is None:
        return []
    forms = [_form(space, layer) for layer in space.layers]
    return [
        layer.index
        for layer, form, following in zip(space.layers, forms, forms[1:], strict=False)
        if layer.stride == 1 and form == following
    ]


def _form(space: SearchSpace, layer: Layer) -> Layer:
    """The facts of a layer that its block depends on besides its choice and the channels that reach it."""
    by_width = space.skip_projection or any(choice.share for choice in space.choices)
    read = layer.in_channels if by_width else 0
    return dataclasses.replace(layer, index=0, in_channels=read)


def canonical(choices, space: SearchSpace) -> np.ndarray:
    """One form for all choice indices [N, num_layers] of equal stand-alone networks: skips after the blocks that they may follow.

    Returns an array of the same shape.
    """
    found, skip = np.array(choices), skip_of(space)
    for run in _runs(interchangeable(space)):
        part = found[:, run]
        order = np.argsort(part == skip, axis=1, kind="stable")
        found[:, run] = np.take_along_axis(part, order, axis=1)
    return found


def _runs(pairs: list[int]) -> list[slice]:
    """The layers of consecutive pairs (i, i + 1), as slices."""
    starts = [i for i in pairs if i - 1 not in pairs]
    ends = [i + 2 for i in pairs if i + 1 not in pairs]
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]
