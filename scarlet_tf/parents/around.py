"""The space around a parent: its layers, each with its own block, smaller ones and the skip; and the parent's path in it."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import millions
from scarlet_tf.parents.parent import Parent
from scarlet_tf.space.choices import DIVISORS, SOURCES, Choice, SqueezeExcite, Stage
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.lowering import block_spec
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import BlockSpec, InvertedResidualSpec

logger = logging.getLogger("scarlet_tf")

LEAST_OVER_BUDGET, MOST_OVER_BUDGET = 1.2, 3.0
OVER_BUDGET = 2.0
"""Multiply-adds of a parent over the budget, at the input size that is chosen: left-out layers pay for pixels."""
SIZE_STEP, LEAST_SIZE = 16, 32
MOST_SIZES = 3


def space_around(
    parent: Parent,
    max_multiply_adds: float | None = None,
    input_size: int | None = None,
    num_classes: int | None = None,
    shares: Sequence[float] = (1.0, 0.5),
    kernel_sizes: Sequence[int] | None = None,
    extra_depth: int = 0,
) -> SearchSpace:
    """A space whose layers are the parent's: each is its own block, one of fewer hidden channels or another kernel, or skipped.

    Args:
        parent: whose stem, tail and conventions the space has as well.
        max_multiply_adds: the budget; it chooses the input size at which the parent costs about OVER_BUDGET times as much.
        input_size: side of the image in pixels, instead; by default the parent's.
        num_classes: of the classifier that costs are counted with; by default the parent's.
        shares: of a layer's hidden channels, with 1 among them.
        kernel_sizes: by default those that the parent has. A kernel larger than a layer's own starts with zeros around it.
        extra_depth: further layers at the end of each stage, which the parent's path skips.

    Raises InputError for a block that no space has, named with the reason, and where the parent costs less than
    LEAST_OVER_BUDGET or more than MOST_OVER_BUDGET times the budget at every size.
    """
    if 1 not in shares:
        raise InputError(f"shares: expected 1, the parent's own width, among them, got {list(shares)}")
    if not isinstance(extra_depth, int) or extra_depth < 0:
        raise InputError(f"extra_depth: expected an integer >= 0, got {extra_depth!r}")
    blocks = [expressible(block) for block in parent.spec.blocks]
    sizes = sorted({block.kernel_size for block in blocks} | set(kernel_sizes or ()))
    if kernel_sizes is not None and set(sizes) != set(kernel_sizes):
        raise InputError(f"kernel_sizes: expected the parent's {sizes} among them, got {list(kernel_sizes)}")
    spec = parent.spec
    space = SearchSpace(
        name=f"around_{parent.name}".replace(":", "_"),
        stages=tuple(_stages(blocks, extra_depth)),
        choices=(
            *(Choice(kernel_size=k, share=float(s)) for s in sorted(shares, reverse=True) for k in sizes),
            Choice(),
        ),
        stem_channels=spec.stem_channels,
        stem_stride=spec.stem_stride,
        first_channels=spec.first_channels,
        tail_channels=spec.tail_channels,
        activation=Counter(block.activation for block in blocks).most_common(1)[0][0],
        input_size=spec.input_shape[0],
        stem_activation=spec.stem_activation,
        tail_activation=spec.tail_activation,
        head_channels=spec.head_channels,
        head_bias=spec.head_bias,
        squeeze_excite=squeeze_excite_of(blocks),
        conventions=spec.conventions,
    )
    parent_path(parent, space)  # refuses what the space cannot express
    if input_size is None and max_multiply_adds is not None:
        input_size = choose_input_size(parent, max_multiply_adds, num_classes)
    return space if input_size is None else dataclasses.replace(space, input_size=input_size)


def parent_path(parent: Parent, space: SearchSpace) -> Architecture:
    """The architecture in `space` that is the parent; InputError names the first block that is not there."""
    choices, blocks = [], list(parent.spec.blocks)
    for layer in space.layers:
        wanted = blocks[0] if blocks else None
        specs = [block_spec(space, layer, choice, layer.in_channels, "shortcut") for choice in space.choices]
        found = [index for index, spec in enumerate(specs) if spec is not None and _equal(spec, wanted)]
        skips = [index for index, spec in enumerate(specs) if spec is not None and spec.kind == "identity"]
        if found:
            blocks.pop(0)
        elif not skips or layer.stride > 1:
            raise InputError(f"space {space.name!r}: {layer.name}: expected the parent's {wanted}, which no choice is")
        choices.append((found or skips)[0])
    if blocks:
        raise InputError(f"space {space.name!r}: expected a layer for the parent's {blocks[0]}, found none")
    return Architecture(tuple(choices), space)


def choose_input_size(parent: Parent, max_multiply_adds: float, num_classes: int | None = None) -> int:
    """The side of the image, in pixels, at which the parent costs about OVER_BUDGET times the budget; it is said in the log.

    Raises InputError where it costs less than LEAST_OVER_BUDGET or more than MOST_OVER_BUDGET times the budget at every
    multiple of SIZE_STEP from LEAST_SIZE to the parent's own size.
    """
    costs = dict(sizes_and_costs(parent, num_classes))
    over = {size: cost / max_multiply_adds for size, cost in costs.items()}
    fitting = [size for size, ratio in over.items() if LEAST_OVER_BUDGET <= ratio <= MOST_OVER_BUDGET]
    if not fitting:
        least, most = min(costs), max(costs)
        raise InputError(
            f"{parent.name}: expected a parent of {LEAST_OVER_BUDGET:g} to {MOST_OVER_BUDGET:g} times the budget of"
            f" {millions(max_multiply_adds)} multiply-adds, got {millions(costs[least])} at {least} pixels to"
            f" {millions(costs[most])} at {most}; {_advice(over[least])}"
        )
    chosen = min(fitting, key=lambda size: abs(math.log(over[size] / OVER_BUDGET)))
    text = "%s at %d pixels: %s multiply-adds, %.2f times the budget of %s"
    logger.info(text, parent.name, chosen, millions(costs[chosen]), over[chosen], millions(max_multiply_adds))
    return chosen


def sizes_and_costs(parent: Parent, num_classes: int | None = None) -> Iterator[tuple[int, int]]:
    """(side of the image in pixels, multiply-adds of the parent) for every size that may be chosen."""
    own = parent.spec.input_shape[0]
    classes = parent.spec.num_classes if num_classes is None else num_classes
    for size in range(LEAST_SIZE, max(own, LEAST_SIZE) + 1, SIZE_STEP):
        spec = parent.spec.replace(input_shape=(size, size, 3), num_classes=classes)
        yield size, count_spec(spec).multiply_adds


def sizes_to_try(costs: Mapping[int, float], max_multiply_adds: float) -> tuple[int, ...]:
    """The sizes at which a search from a parent may find most: up to MOST_SIZES from the budget to MOST_OVER_BUDGET times it.

    costs: {side in pixels: multiply-adds of the parent}. Those nearest to OVER_BUDGET, by rising size.
    """
    over = {size: cost / max_multiply_adds for size, cost in costs.items()}
    fitting = [size for size, ratio in over.items() if 1 <= ratio <= MOST_OVER_BUDGET]
    return tuple(sorted(sorted(fitting, key=lambda size: abs(math.log(over[size] / OVER_BUDGET)))[:MOST_SIZES]))


def _advice(least: float) -> str:
    if least > MOST_OVER_BUDGET:
        return "take a smaller parent or a larger budget, or train from scratch"
    return "take a larger parent or a smaller budget: within it the whole parent can be fine-tuned"


def expressible(block: BlockSpec) -> InvertedResidualSpec:
    """The block itself; InputError, with the reason, for one that no space has."""
    if not isinstance(block, InvertedResidualSpec):
        raise InputError(f"{block.name}: expected an inverted residual block, got {block.kind}")
    if block.residual != (block.stride == 1 and block.in_channels == block.out_channels):
        raise InputError(f"{block.name}: expected a shortcut wherever shapes allow one, got none")
    return block


def _stages(blocks: Sequence[InvertedResidualSpec], extra_depth: int) -> Iterator[Stage]:
    """Blocks that follow one another with one width, activation and form; a stride begins a new stage."""
    begun = itertools.count()
    current, last = 0, None
    numbered = []
    for block in blocks:
        form = (block.out_channels, block.activation, block.se_channels > 0, block.expand)
        if form != last or block.stride > 1:
            current, last = next(begun), form
        numbered.append((current, block))
    for _, group in itertools.groupby(numbered, key=lambda pair: pair[0]):
        members = [block for _, block in group]
        first = members[0]
        if first.expand:
            members += [members[-1]] * extra_depth
        yield Stage(
            channels=first.out_channels,
            depth=len(members),
            stride=first.stride,
            activation=first.activation,
            hidden_channels=tuple(block.hidden_channels for block in members),
            kernel_sizes=tuple(block.kernel_size for block in members),
            use_se=first.se_channels > 0,
            expand=first.expand,
        )


def squeeze_excite_of(blocks: Sequence[InvertedResidualSpec]) -> SqueezeExcite:
    """The one form of all blocks' squeeze-and-excitation; InputError names the block that has another one."""
    having = [block for block in blocks if block.se_channels]
    if not having:
        return SqueezeExcite()
    first = having[0]
    problems = []
    for source, divisor in itertools.product(SOURCES, DIVISORS):
        whole = first.hidden_channels if source == "expanded" else first.in_channels
        for ratio in (0.25, first.se_channels / whole):
            rule = SqueezeExcite(min(ratio, 1.0), source, divisor, first.se_activation, first.se_gate)
            other = next((block for block in having if not _follows(rule, block)), None)
            if other is None:
                return rule
            problems.append(other)
    raise InputError(
        f"{problems[0].name}: expected a squeeze-and-excitation by the same rule as in {first.name}, got"
        f" {problems[0].se_channels} channels for {problems[0].hidden_channels} hidden ones"
    )


def _follows(rule: SqueezeExcite, block: InvertedResidualSpec) -> bool:
    width = rule.channels(block.in_channels, block.hidden_channels)
    return (width, rule.activation, rule.gate) == (block.se_channels, block.se_activation, block.se_gate)


def _equal(spec: BlockSpec, other: BlockSpec | None) -> bool:
    return other is not None and dataclasses.replace(spec, name="") == dataclasses.replace(other, name="")
