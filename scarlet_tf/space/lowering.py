"""Lowering: from a choice of a layer to the blocks of a NetworkSpec.

A block reads what reaches it. In a supernet that is as wide as the layer states; in a stand-alone network, skips in front of
it narrow its input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.choices import Choice, rounded_channels
from scarlet_tf.space.spec import Activation, BlockSpec, IdentitySpec, InvertedResidualSpec, LinearSpec

if TYPE_CHECKING:
    from scarlet_tf.space.search_space import Architecture, SearchSpace

SKIP_MODES = ("let", "identity", "relu", "shortcut")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A searchable layer at its place in the supernet; what follows `activation` is as in its Stage, for this layer."""

    index: int
    in_channels: int
    out_channels: int
    stride: int
    activation: Activation = "hard_swish"
    hidden_channels: int | None = None
    kernel_size: int | None = None
    use_se: bool = False
    expand: bool = True

    @property
    def name(self) -> str:
        return f"block_{self.index:02d}"


def block_spec(space: SearchSpace, layer: Layer, choice: Choice, in_channels: int, skip: str) -> BlockSpec | None:
    """One choice of one layer reading `in_channels`; None if the layer is absent."""
    if not choice.is_skip:
        return _inverted_residual(space, layer, choice, in_channels)
    keeps_shape = layer.stride == 1 and layer.in_channels == layer.out_channels
    if space.skip_projection and not keeps_shape:
        return LinearSpec(layer.name, in_channels, layer.out_channels, layer.stride, batch_norm=True)
    if skip == "nothing":
        return IdentitySpec(layer.name, in_channels, in_channels, layer.stride) if layer.stride > 1 else None
    if skip == "identity" or (skip == "shortcut" and keeps_shape):
        return IdentitySpec(layer.name, in_channels, layer.out_channels, layer.stride)
    if skip in ("let", "relu", "shortcut"):
        return LinearSpec(layer.name, in_channels, layer.out_channels, layer.stride, "relu" if skip == "relu" else None)
    raise InputError(f"skip: expected one of {SKIP_MODES} or 'nothing', got {skip!r}")


def standalone_blocks(space: SearchSpace, layer: Layer, choice: Choice, in_channels: int) -> tuple[BlockSpec, ...]:
    """The blocks of one choice of one layer in a stand-alone network where `in_channels` reach it; a skip may have none.

    In a space around a network, whose blocks keep their widths, a block with a shortcut needs its input as wide as it is
    there: if skips narrowed it, the 1x1 convolution that stands for them comes first.
    """
    block = block_spec(space, layer, choice, in_channels, "nothing")
    if block is None:
        return ()
    wanted = layer.in_channels
    residual = layer.stride == 1 and wanted == layer.out_channels
    if choice.share and residual and in_channels != wanted:
        widened = LinearSpec(f"{layer.name}_widen", in_channels, wanted)
        return widened, _inverted_residual(space, layer, choice, wanted)
    return (block,)


def _inverted_residual(space: SearchSpace, layer: Layer, choice: Choice, in_channels: int) -> InvertedResidualSpec:
    rule, use_se = space.squeeze_excite, layer.use_se if choice.share else choice.use_se
    if choice.share:
        whole = layer.hidden_channels or layer.in_channels
        keeps_all = choice.share == 1 or not layer.expand
        hidden = whole if keeps_all else min(whole, rounded_channels(whole * choice.share))
        se_channels = rule.channels(layer.in_channels, whole)
        expand = layer.expand
    else:
        hidden = in_channels * choice.expansion
        hidden = int(hidden) if float(choice.expansion).is_integer() else rounded_channels(hidden)
        se_channels = rule.channels(in_channels, hidden)
        expand = choice.expansion > 1
    return InvertedResidualSpec(
        name=layer.name,
        in_channels=in_channels,
        hidden_channels=hidden,
        out_channels=layer.out_channels,
        kernel_size=choice.kernel_size,
        stride=layer.stride,
        se_channels=se_channels if use_se else 0,
        residual=layer.stride == 1 and in_channels == layer.out_channels,
        activation=layer.activation,
        expand=expand,
        se_gate=rule.gate if use_se else "hard_sigmoid",
        se_activation=rule.activation if use_se else "relu",
    )


def blocks_of(architecture: Architecture, channels: int, skip: str) -> Iterator[BlockSpec]:
    """The blocks of a network whose stem ends in `channels`; `skip` as in `Architecture.lower`."""
    space = architecture.space
    for layer, index in zip(space.layers, architecture.choices, strict=True):
        if skip == "nothing":
            blocks = standalone_blocks(space, layer, space.choices[index], channels)
        else:
            block = block_spec(space, layer, space.choices[index], channels, skip)
            blocks = () if block is None else (block,)
        yield from blocks
        channels = blocks[-1].out_channels if blocks else channels
