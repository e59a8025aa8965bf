"""Multiply-adds and parameters of networks, one by one and for whole populations.

Counted are the multiply-adds of convolutions, dense layers and the two convolutions of squeeze-and-excitation;
batch normalisation, activations, pooling and SE's scaling are not. Parameters are all trainable ones, BN's
scale and offset included. This count reproduces the published tables.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import assert_never

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import millions
from scarlet_tf.space.lowering import standalone_blocks
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import (
    BlockSpec,
    IdentitySpec,
    InvertedResidualSpec,
    LinearSpec,
    NetworkSpec,
    check_num_classes,
)

# -- SumTable: figures that add up over an architecture's layers, as look-ups --------------------------------------


Size = tuple[int, int]  # height and width in pixels


def reduced(size: Size, stride: int) -> Size:
    """Size of an image of `size` after a stride."""
    height, width = size
    return -(-height // stride), -(-width // stride)


class SumTable:
    """Sums of figures over the layers of stand-alone architectures of a space.

    A layer's contribution depends on its choice and on the channels that reach it, which skips in front of it may have
    narrowed. So a row of the table is a (layer, incoming channels) pair, its columns the choices; a second table names
    the row of the next layer. One architecture is a walk over rows; a population walks at once.

    Args:
        names: of the figures.
        of_block: a block and the size of its input -> one number for each name.
        of_ends: size of the image, of the tail's input, and the channels that reach the tail -> numbers for stem and tail.
    """

    def __init__(
        self,
        space: SearchSpace,
        input_size: int,
        num_classes: int | None,
        names: Sequence[str],
        of_block: Callable[[BlockSpec, Size], Sequence],
        of_ends: Callable[[Size, Size, int], Sequence],
        dtype=np.int64,
    ):
        if not isinstance(input_size, (int, np.integer)) or input_size < 1:
            raise InputError(f"input_size: expected an integer >= 1, got {input_size!r}")
        check_num_classes(num_classes)
        self.space, self.input_size, self.num_classes = space, int(input_size), num_classes
        self.names = tuple(names)
        image = (self.input_size, self.input_size)
        size = reduced(image, space.stem_stride)
        nothing = [0] * len(self.names)
        rows: list[list] = []
        following = []
        self._layer_rows: list[range] = []
        row_of = {space.widths[1]: 0}
        for layer in space.layers:
            start, next_start = len(rows), len(rows) + len(row_of)
            next_row_of: dict[int, int] = {}
            for channels in row_of:
                columns = [standalone_blocks(space, layer, choice, channels) for choice in space.choices]
                rows.append([_sum([of_block(block, size) for block in blocks], nothing) for blocks in columns])
                widths = [blocks[-1].out_channels if blocks else channels for blocks in columns]
                for width in widths:
                    next_row_of.setdefault(width, next_start + len(next_row_of))
                following.append([next_row_of[width] for width in widths])
            self._layer_rows.append(range(start, len(rows)))
            row_of = next_row_of
            size = reduced(size, layer.stride)
        # One more row for each width that can reach the tail, with a single real column.
        self._tail_rows = range(len(rows), len(rows) + len(row_of))
        num_choices = space.num_choices
        for channels in row_of:
            rows.append([of_ends(image, size, channels)] + [nothing] * (num_choices - 1))
        self._next = [row * num_choices for targets in following for row in targets]
        self._columns = [[entry[i] for row in rows for entry in row] for i in range(len(self.names))]
        self._next_array = np.asarray(self._next, np.int64)
        self._arrays = [np.asarray(column, dtype) for column in self._columns]

    def sums(self, choices) -> dict[str, np.ndarray]:
        """{name: [N]} for choice indices [N, num_layers]."""
        choices = self._checked(choices)
        totals = [np.zeros(len(choices), array.dtype) for array in self._arrays]
        row = np.zeros(len(choices), np.int64)
        for column in choices.T:
            index = row + column
            for total, array in zip(totals, self._arrays, strict=True):
                total += array[index]
            row = self._next_array[index]
        return {name: total + array[row] for name, total, array in zip(self.names, totals, self._arrays, strict=True)}

    def expected(self, probabilities) -> dict[str, tuple[float, np.ndarray]]:
        """{name: (mean, gradient)} of networks whose layers draw their choices independently.

        probabilities: [num_layers, num_choices]. The mean is the sum over all networks of the product of their choices'
        probabilities times their figure; gradient [num_layers, num_choices]: its derivatives by the probabilities.
        """
        probabilities = np.asarray(probabilities, float)
        expected = (self.space.num_layers, self.space.num_choices)
        if probabilities.shape != expected:
            raise InputError(f"probabilities: expected shape {list(expected)}, got {list(probabilities.shape)}")
        return {
            name: self._expected(probabilities, array) for name, array in zip(self.names, self._arrays, strict=True)
        }

    def _expected(self, probabilities: np.ndarray, array: np.ndarray) -> tuple[float, np.ndarray]:
        m, tail = self.space.num_choices, np.asarray(self._tail_rows)
        table, following = array.reshape(-1, m).astype(float), self._next_array.reshape(-1, m) // m
        onwards = np.zeros(len(table))  # the mean of the sums from a row on
        onwards[tail] = table[tail, 0]
        sums = []  # for each layer, last first: its own figure and the sum of what follows [rows, m]
        for layer, rows in reversed(list(enumerate(self._layer_rows))):
            sums.append(table[rows] + onwards[following[rows]])
            onwards[rows] = sums[-1] @ probabilities[layer]
        reached, gradient = np.zeros(len(table)), np.empty_like(probabilities)
        reached[0] = 1.0
        for layer, rows in enumerate(self._layer_rows):
            gradient[layer] = reached[rows] @ sums[-1 - layer]
            np.add.at(reached, following[rows], reached[rows][:, None] * probabilities[layer])
        return float(onwards[0]), gradient

    def steps(self) -> list[tuple[int, int, int, int]]:
        """(layer, row, choice, next row) of every possible step of a walk, which begins in row 0."""
        m = self.space.num_choices
        return [
            (layer, row, choice, self._next[row * m + choice] // m)
            for layer, rows in enumerate(self._layer_rows)
            for row in rows
            for choice in range(m)
        ]

    def figure(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(contribution of each choice in each row [rows, num_choices], that of the end after each row [rows])."""
        table = self._arrays[self.names.index(name)].reshape(-1, self.space.num_choices).astype(float)
        ends = np.zeros(len(table))
        ends[np.asarray(self._tail_rows)] = table[np.asarray(self._tail_rows), 0]
        return table, ends

    @functools.cached_property
    def bounds(self) -> dict[str, tuple]:
        """Smallest and largest value that the space can reach: {name: (low, high)}."""
        columns = zip(self.names, self._columns, strict=True)
        return {name: (self._extreme(column, min), self._extreme(column, max)) for name, column in columns}

    def _extreme(self, values: list, better):
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


def _sum(entries: list[Sequence], nothing: Sequence) -> Sequence:
    """The entries added up figure by figure."""
    return [sum(figures) for figures in zip(*entries, strict=True)] if entries else nothing


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
        return Cost(weights * pixels_out, weights + 2 * block.out_channels * block.batch_norm)
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
