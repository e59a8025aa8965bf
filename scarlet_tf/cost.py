"""Multiply-adds and parameters of networks, one by one and for whole populations.

Counted are the multiply-adds of convolutions, dense layers and the two convolutions of squeeze-and-excitation;
batch normalisation, activations, pooling and SE's scaling are not. Parameters are all trainable ones, BN's
scale and offset included. This count reproduces the published tables.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import assert_never

import numpy as np

from scarlet_tf.space import Architecture, SearchSpace
from scarlet_tf.spec import BlockSpec, IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec
from scarlet_tf.tables import SumTable, reduced
from scarlet_tf.words import millions


@dataclasses.dataclass(frozen=True)
class Cost:
    """Multiply-adds of one image and trainable parameters, as whole numbers."""

    multiply_adds: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.multiply_adds + other.multiply_adds, self.params + other.params)

    def __str__(self) -> str:
        return f"{millions(self.multiply_adds)} multiply-adds, {millions(self.params)} params"


def count(network: Architecture | NetworkSpec, input_size: int | None = None, num_classes: int | None = 1000) -> Cost:
    """The cost of a stand-alone architecture, or of any NetworkSpec (which carries its own size and classes).

    input_size: pixels of a side of a square image with three channels; None takes the space's. Raises InputError for
    sizes and classes that are not positive integers.
    """
    if isinstance(network, NetworkSpec):
        return count_spec(network)
    table = cost_table(network.space, network.space.input_size if input_size is None else input_size, num_classes)
    return Cost(*table.count_one(network.choices))


def count_spec(spec: NetworkSpec) -> Cost:
    """Add up a NetworkSpec layer by layer; the tables of `CostTable` are tested against it."""
    size = reduced(spec.input_shape[:2], spec.stem_stride)
    total = stem_cost(spec)
    for block in spec.blocks:
        total += block_cost(block, size)
        size = reduced(size, block.stride)
    return total + tail_cost(spec, size, spec.feature_channels)


def block_cost(block: BlockSpec, size: tuple[int, int]) -> Cost:
    """The cost of one block whose input has `size` = (height, width) pixels."""
    pixels_in = size[0] * size[1]
    height, width = reduced(size, block.stride)
    pixels_out = height * width
    if isinstance(block, InvertedResidualSpec):
        return _inverted_residual_cost(block, pixels_in, pixels_out)
    if isinstance(block, LinearSpec):
        weights = block.in_channels * block.out_channels
        return Cost(weights * pixels_out, weights)
    if isinstance(block, IdentitySpec):
        return Cost(0, 0)
    assert_never(block)


def _inverted_residual_cost(block: InvertedResidualSpec, pixels_in: int, pixels_out: int) -> Cost:
    hidden, squeeze = block.hidden_channels, block.se_channels
    expand = block.in_channels * hidden if block.expand else 0
    depthwise = block.kernel_size**2 * hidden
    project = hidden * block.out_channels
    excite = 2 * hidden * squeeze
    batch_norm = 2 * ((2 if block.expand else 1) * hidden + block.out_channels)
    biases = squeeze + hidden if squeeze else 0
    return Cost(
        expand * pixels_in + (depthwise + project) * pixels_out + excite,
        expand + depthwise + project + excite + biases + batch_norm,
    )


def stem_cost(spec: NetworkSpec) -> Cost:
    """The cost of the stem of `spec`."""
    height, width = reduced(spec.input_shape[:2], spec.stem_stride)
    stem, first = spec.stem_channels, spec.first_channels
    weights, normalized = 9 * spec.input_shape[2] * stem, stem
    if first is not None:
        weights, normalized = weights + 9 * stem + stem * first, normalized + stem + first
    return Cost(weights * height * width, weights + 2 * normalized)


def tail_cost(spec: NetworkSpec, size: tuple[int, int], channels: int) -> Cost:
    """The cost of the tail of `spec`, of head and classifier, if `channels` of `size` = (height, width) pixels reach it."""
    features = spec.tail_channels
    cost = Cost(channels * features * size[0] * size[1], channels * features + 2 * features)
    if spec.num_classes is None:
        return cost
    if spec.head_channels is not None:
        cost += Cost(features * spec.head_channels, (features + spec.head_bias) * spec.head_channels)
        features = spec.head_channels
    return cost + Cost(features * spec.num_classes, (features + 1) * spec.num_classes)


@functools.lru_cache(maxsize=64)
def cost_table(space: SearchSpace, input_size: int, num_classes: int | None) -> CostTable:
    """A cached CostTable."""
    return CostTable(space, input_size, num_classes)


class CostTable(SumTable):
    """Multiply-adds and params of all stand-alone architectures of a space as table look-ups."""

    def __init__(self, space: SearchSpace, input_size: int, num_classes: int | None):
        def of_block(block, size):
            return dataclasses.astuple(block_cost(block, size))

        def of_ends(image, size, channels):
            ends = space.ends((*image, 3), num_classes)
            return dataclasses.astuple(stem_cost(ends) + tail_cost(ends, size, channels))

        super().__init__(space, input_size, num_classes, ("multiply_adds", "params"), of_block, of_ends)

    def count_one(self, choices) -> tuple[int, int]:
        """(multiply_adds, params) of one architecture given as choice indices; the fastest way for a single one."""
        (multiply_adds, params), following = self._columns, self._next
        total = weights = row = 0
        for choice in choices:
            index = row + choice
            total += multiply_adds[index]
            weights += params[index]
            row = following[index]
        return total + multiply_adds[row], weights + params[row]

    def count(self, choices) -> tuple[np.ndarray, np.ndarray]:
        """(multiply_adds [N], params [N]) as int64 for choice indices [N, num_layers]."""
        sums = self.sums(choices)
        return sums["multiply_adds"], sums["params"]
