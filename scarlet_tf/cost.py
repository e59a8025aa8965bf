"""Multiply-adds and parameters of networks, one by one and for whole populations.

Counted are the multiply-adds of convolutions, dense layers and the two convolutions of squeeze-and-excitation;
batch normalisation, activations, pooling and SE's scaling are not. Parameters are all trainable ones, BN's
scale and offset included. That is the count under which the published tables come out.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.space import Architecture, SearchSpace, block_spec
from scarlet_tf.spec import BlockSpec, InvertedResidualSpec, LinearSpec, NetworkSpec, check_num_classes


@dataclasses.dataclass(frozen=True)
class Cost:
    """Multiply-adds of one image and trainable parameters, as whole numbers."""

    multiply_adds: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.multiply_adds + other.multiply_adds, self.params + other.params)

    def __str__(self) -> str:
        return f"{self.multiply_adds / 1e6:.2f} M multiply-adds, {self.params / 1e6:.2f} M params"


def count(network: Architecture | NetworkSpec, input_size: int | None = None, num_classes: int = 1000) -> Cost:
    """The cost of a stand-alone architecture, or of any NetworkSpec (which carries its own size and classes).

    input_size: pixels of a side of a square image with three channels; None takes the space's. Raises InputError for
    sizes and classes that are no positive integers.
    """
    if isinstance(network, NetworkSpec):
        return count_spec(network)
    table = cost_table(network.space, network.space.input_size if input_size is None else input_size, num_classes)
    return Cost(*table.count_one(network.choices))


def count_spec(spec: NetworkSpec) -> Cost:
    """Adds up a NetworkSpec layer by layer; the tables of `CostTable` are tested against it."""
    size = reduced(spec.input_shape[:2], spec.stem_stride)
    total = stem_cost(size, spec.input_shape[2], spec.stem_channels, spec.first_channels)
    for block in spec.blocks:
        total += block_cost(block, size)
        size = reduced(size, block.stride)
    return total + tail_cost(size, spec.feature_channels, spec.tail_channels, spec.num_classes)


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
    return Cost(0, 0)


def _inverted_residual_cost(block: InvertedResidualSpec, pixels_in: int, pixels_out: int) -> Cost:
    hidden, squeeze = block.hidden_channels, block.se_channels
    expand = block.in_channels * hidden
    depthwise = block.kernel_size**2 * hidden
    project = hidden * block.out_channels
    excite = 2 * hidden * squeeze
    batch_norm = 2 * (2 * hidden + block.out_channels)
    biases = squeeze + hidden if squeeze else 0
    return Cost(
        expand * pixels_in + (depthwise + project) * pixels_out + excite,
        expand + depthwise + project + excite + biases + batch_norm,
    )


def stem_cost(size: tuple[int, int], image_channels: int, stem: int, first: int) -> Cost:
    """The cost of a stem whose output has `size` = (height, width) pixels; `stem` and `first` are its widths."""
    weights = 9 * image_channels * stem + 9 * stem + stem * first
    return Cost(weights * size[0] * size[1], weights + 2 * (2 * stem + first))


def tail_cost(size: tuple[int, int], channels: int, tail: int, num_classes: int | None) -> Cost:
    """The cost of a tail of width `tail` whose input has `channels` and `size` = (height, width) pixels."""
    cost = Cost(channels * tail * size[0] * size[1], channels * tail + 2 * tail)
    return cost if num_classes is None else cost + Cost(tail * num_classes, (tail + 1) * num_classes)


def reduced(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(height, width) behind a layer of that stride."""
    return tuple(-(-side // stride) for side in size)


@functools.lru_cache(maxsize=64)
def cost_table(space: SearchSpace, input_size: int, num_classes: int) -> CostTable:
    """A cached CostTable."""
    return CostTable(space, input_size, num_classes)


class CostTable:
    """Costs of all stand-alone architectures of a space as table look-ups.

    What a layer costs depends on its choice and on the channels that reach it, which skips in front of it may
    have left narrower. So a row of the table is a (layer, incoming channels) pair, its columns the choices; a
    second table names the row of the next layer. One architecture is a walk over rows; a population walks at once.
    """

    def __init__(self, space: SearchSpace, input_size: int, num_classes: int | None):
        if not isinstance(input_size, (int, np.integer)) or input_size < 1:
            raise InputError(f"input_size: expected an integer >= 1, got {input_size!r}")
        check_num_classes(num_classes)
        self.space, self.input_size, self.num_classes = space, int(input_size), num_classes
        stem, first, tail = space.widths
        size = reduced((input_size, input_size), space.stem_stride)
        fixed = stem_cost(size, 3, stem, first)
        rows: list[list[Cost]] = []
        following: list[list[int]] = []
        self._layer_rows: list[range] = []
        row_of = {first: 0}
        for layer in space.layers:
            start, next_start = len(rows), len(rows) + len(row_of)
            next_row_of: dict[int, int] = {}
            for channels in row_of:
                blocks = [block_spec(space, layer, choice, channels, "nothing") for choice in space.choices]
                rows.append([block_cost(block, size) if block else Cost(0, 0) for block in blocks])
                widths = [block.out_channels if block else channels for block in blocks]
                for width in widths:
                    next_row_of.setdefault(width, next_start + len(next_row_of))
                following.append([next_row_of[width] for width in widths])
            self._layer_rows.append(range(start, len(rows)))
            row_of = next_row_of
            size = reduced(size, layer.stride)
        # One more row a width that can reach the tail, with a single real column.
        self._tail_rows = range(len(rows), len(rows) + len(row_of))
        tails = [fixed + tail_cost(size, channels, tail, num_classes) for channels in row_of]
        num_choices = space.num_choices
        self._multiply_adds = [c.multiply_adds for row in rows for c in row]
        self._params = [c.params for row in rows for c in row]
        self._next = [row * num_choices for targets in following for row in targets]
        for cost in tails:
            self._multiply_adds += [cost.multiply_adds] + [0] * (num_choices - 1)
            self._params += [cost.params] + [0] * (num_choices - 1)
        self._arrays = tuple(np.asarray(v, np.int64) for v in (self._multiply_adds, self._params, self._next))

    def count_one(self, choices) -> tuple[int, int]:
        """(multiply_adds, params) of one architecture given as choice indices; the fastest way for a single one."""
        multiply_adds, params, following = self._multiply_adds, self._params, self._next
        total = weights = row = 0
        for choice in choices:
            index = row + choice
            total += multiply_adds[index]
            weights += params[index]
            row = following[index]
        return total + multiply_adds[row], weights + params[row]

    def count(self, choices) -> tuple[np.ndarray, np.ndarray]:
        """(multiply_adds [N], params [N]) as int64 for choice indices [N, num_layers]."""
        choices = self._checked(choices)
        multiply_adds, params, following = self._arrays
        total = np.zeros(len(choices), np.int64)
        weights = np.zeros(len(choices), np.int64)
        row = np.zeros(len(choices), np.int64)
        for column in choices.T:
            index = row + column
            total += multiply_adds[index]
            weights += params[index]
            row = following[index]
        return total + multiply_adds[row], weights + params[row]

    @functools.cached_property
    def bounds(self) -> dict[str, tuple[int, int]]:
        """Smallest and largest value that the space can reach: {"multiply_adds": (low, high), "params": (low, high)}."""
        return {
            "multiply_adds": (self._extreme(self._multiply_adds, min), self._extreme(self._multiply_adds, max)),
            "params": (self._extreme(self._params, min), self._extreme(self._params, max)),
        }

    def _extreme(self, values: list[int], better) -> int:
        """Exact extreme over the whole space, by dynamic programming from the tail back."""
        num_choices = self.space.num_choices
        best = {row * num_choices: values[row * num_choices] for row in self._tail_rows}
        for rows in reversed(self._layer_rows):
            for row in rows:
                indices = range(row * num_choices, (row + 1) * num_choices)
                best[row * num_choices] = better(values[i] + best[self._next[i]] for i in indices)
        return best[0]

    def _checked(self, choices) -> np.ndarray:
        choices = np.asarray(choices)
        if choices.ndim != 2 or choices.shape[1] != self.space.num_layers:
            raise InputError(f"choices: expected shape [N, {self.space.num_layers}], got {list(choices.shape)}")
        if choices.size and not np.issubdtype(choices.dtype, np.integer):
            raise InputError(f"choices: expected integers, got {choices.dtype}")
        if choices.size and (choices.min() < 0 or choices.max() >= self.space.num_choices):
            raise InputError(
                f"choices: expected values from 0 to {self.space.num_choices - 1}, got {choices.min()} to {choices.max()}"
            )
        return choices.astype(np.int64, copy=False)
