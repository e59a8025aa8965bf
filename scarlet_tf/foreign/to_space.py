"""architecture_from_blocks: block strings as choices of a search space."""

from __future__ import annotations

from collections.abc import Iterable

from scarlet_tf.errors import InputError
from scarlet_tf.foreign.block_string import BlockString, parse_stages
from scarlet_tf.space import Architecture, Choice, Layer, SearchSpace


def architecture_from_blocks(blocks: Iterable, space: SearchSpace) -> Architecture:
    """The architecture of `space` with the layers that the block strings describe.

    blocks: as `network_from_blocks` takes them, for the searchable layers alone: the space brings its own stem and tail.
    "skip" is a skipped layer; which layers are skipped cannot be guessed, so every layer needs its string. `se` is
    a share of the expanded width, a quarter in every space here.

    InputError names the layer and the string that do not fit.
    """
    layers = [(block, repeat) for block in parse_stages(blocks) for repeat in range(block.repeats)]
    if len(layers) != space.num_layers:
        raise InputError(
            f"blocks: expected {space.num_layers} layers, which space {space.name!r} has without its stem and tail, got"
            f" {len(layers)}; a skipped layer is 'skip'"
        )
    return Architecture(tuple(_choice(space, *of) for of in zip(space.layers, layers, strict=True)), space)


def _choice(space: SearchSpace, layer: Layer, of: tuple[BlockString, int]) -> int:
    block, repeat = of
    if block.kind == "skip":
        return _index(space, layer, block, Choice())
    stride = block.stride if repeat == 0 else 1
    has_shortcut = layer.stride == 1 and layer.in_channels == layer.out_channels
    for name, got, expected in (
        ("block type", block.kind, "ir" if block.expansion > 1 else "ds"),
        ("s", stride, layer.stride),
        ("c", block.channels, layer.out_channels),
        ("n", block.activation or layer.activation, layer.activation),
        ("se", block.se_ratio or space.squeeze_excite.ratio, space.squeeze_excite.ratio),
        ("shortcut", block.shortcut or not has_shortcut, True),
    ):
        if got != expected:
            raise _misfit(layer, block, f"{name}: expected {expected}, got {got}")
    return _index(space, layer, block, Choice(block.expansion, block.kernel_size, block.se_ratio > 0))


def _index(space: SearchSpace, layer: Layer, block: BlockString, choice: Choice) -> int:
    if choice not in space.choices:
        labels = ", ".join(choice.label for choice in space.choices)
        raise _misfit(layer, block, f"{choice.label} is no choice of space {space.name!r}; expected one of {labels}")
    return space.choices.index(choice)


def _misfit(layer: Layer, block: BlockString, reason: str) -> InputError:
    return InputError(f"layer {layer.index}: {block.text}: {reason}")
