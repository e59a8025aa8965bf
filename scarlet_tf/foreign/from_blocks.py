"""network_from_blocks: a network from block strings and the parts around them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping

from scarlet_tf.errors import InputError
from scarlet_tf.foreign.block_string import BlockString, parse_stages
from scarlet_tf.space import rounded_channels
from scarlet_tf.spec import (
    ACTIVATIONS,
    GATES,
    PYTORCH,
    Conventions,
    InvertedResidualSpec,
    NetworkSpec,
    check_choice,
    check_input_shape,
    conventions_of,
)

TAIL_CHANNELS = 1280
SE_SOURCES = ("input", "expanded")
SE_DIVISORS = (1, 8)


@dataclasses.dataclass(frozen=True)
class _SqueezeExcite:
    """Meaning of `se` in block strings: the width that it is a share of, the divisor of its rounding, and the gate."""

    se_from: str
    se_divisor: int
    se_gate: str
    se_activation: str

    def __post_init__(self):
        for name, allowed in (
            ("se_from", SE_SOURCES),
            ("se_divisor", SE_DIVISORS),
            ("se_gate", GATES),
            ("se_activation", ACTIVATIONS),
        ):
            check_choice(name, getattr(self, name), allowed)

    def channels(self, block: BlockString, hidden: int) -> int:
        """Width of the squeeze in a block of `hidden` channels; 0 where there is none."""
        if not block.se_ratio:
            return 0
        ratio = block.se_ratio if self.se_from == "expanded" else block.se_ratio / block.expansion
        return max(1, round(hidden * ratio)) if self.se_divisor == 1 else rounded_channels(hidden * ratio)


def network_from_blocks(
    blocks: Iterable,
    *,
    stem_channels: int = 32,
    stem_stride: int = 2,
    tail_channels: int | None = None,
    head_channels: int | None = None,
    head_bias: bool = True,
    activation: str = "relu",
    width_multiplier: float = 1.0,
    se_from: str = "input",
    se_divisor: int = 1,
    se_gate: str = "sigmoid",
    se_activation: str = "relu",
    input_shape: tuple[int, int, int] = (224, 224, 3),
    num_classes: int | None = 1000,
    conventions: Conventions | Mapping = PYTORCH,
) -> NetworkSpec:
    """A NetworkSpec from block strings in timm's notation; the defaults are those of timm's EfficientNet class.

    Args:
        blocks: a list of strings, or of lists of strings that make up one stage; docs/foreign.md has the notation.
        stem_channels, stem_stride: of the 3x3 convolution in front.
        tail_channels: of the 1x1 convolution after the blocks (default 1280), unless the last string, cn_r1_k1_s1_c...,
            is that one.
        head_channels, head_bias: MobileNetV3's dense layer after the pooling; None for none.
        activation: "relu", "relu6", "hard_swish" or "silu": of stem, tail, head and the blocks that name none.
        width_multiplier: of the strings' widths, which are rounded to multiples of 8 as in timm; the others stay.
        se_from: whether `se` is a share of the block's "input" or of its "expanded" width.
        se_divisor: 8 rounds widths of squeeze-and-excitation as others are, 1 to whole numbers.
        se_gate: "sigmoid", or "hard_sigmoid" as in MobileNetV3.
        se_activation: between its two convolutions; that of EfficientNet is "silu".
        input_shape, num_classes: of the image, and of the classifier.
        conventions: Conventions or a mapping of its fields: padding, and BN's epsilon and momentum.

    InputError names the string and the field that cannot be expressed.
    """
    strings = parse_stages(blocks)
    _check_channels(stem_channels=stem_channels, tail_channels=tail_channels, head_channels=head_channels)
    if not isinstance(width_multiplier, (int, float)) or not 0 < width_multiplier < math.inf:
        raise InputError(f"width_multiplier: expected a number > 0, got {width_multiplier!r}")
    check_choice("stem_stride", stem_stride, (1, 2))
    check_choice("activation", activation, ACTIVATIONS)
    if strings[-1].kind == "cn":
        tail_channels = _tail_channels(strings.pop(), tail_channels, activation, width_multiplier)
    squeeze_excite = _SqueezeExcite(se_from, se_divisor, se_gate, se_activation)
    return NetworkSpec(
        input_shape=check_input_shape(input_shape),
        num_classes=num_classes,
        stem_channels=stem_channels,
        stem_stride=stem_stride,
        first_channels=None,
        blocks=tuple(_block_specs(strings, stem_channels, activation, width_multiplier, squeeze_excite)),
        tail_channels=TAIL_CHANNELS if tail_channels is None else tail_channels,
        stem_activation=activation,
        tail_activation=activation,
        head_channels=head_channels,
        head_bias=head_bias,
        conventions=conventions_of(conventions),
    )


def _block_specs(
    strings: Iterable[BlockString], channels: int, activation: str, multiplier: float, squeeze_excite: _SqueezeExcite
) -> Iterator[InvertedResidualSpec]:
    index = 0
    for block in strings:
        if block.kind not in ("ir", "ds"):
            place = "only the last string may be cn, the tail" if block.kind == "cn" else "leave the block out"
            raise InputError(f"{block.text}: block type {block.kind!r} cannot be expressed here; {place}")
        width = rounded_channels(block.channels * multiplier)
        for repeat in range(block.repeats):
            stride = block.stride if repeat == 0 else 1
            hidden = rounded_channels(channels * block.expansion) if block.kind == "ir" else channels
            yield InvertedResidualSpec(
                name=f"block_{index:02d}",
                in_channels=channels,
                hidden_channels=hidden,
                out_channels=width,
                kernel_size=block.kernel_size,
                stride=stride,
                se_channels=squeeze_excite.channels(block, hidden),
                residual=block.shortcut and stride == 1 and channels == width,
                activation=block.activation or activation,
                expand=block.kind == "ir",
                se_gate=squeeze_excite.se_gate if block.se_ratio else "hard_sigmoid",
                se_activation=squeeze_excite.se_activation if block.se_ratio else "relu",
            )
            channels, index = width, index + 1


def _tail_channels(block: BlockString, given: int | None, activation: str, multiplier: float) -> int:
    if (block.repeats, block.kernel_size, block.stride) != (1, 1, 1):
        raise InputError(f"{block.text}: expected r1, k1 and s1, the only convolution that can be expressed")
    if given is not None:
        raise InputError(f"tail_channels: expected none beside {block.text}, got {given}")
    if block.activation not in (None, activation):
        raise InputError(f"{block.text}: n: expected the network's activation, {activation}, got {block.activation}")
    return rounded_channels(block.channels * multiplier)


def _check_channels(**widths: int | None) -> None:
    for name, value in widths.items():
        if value is None and name != "stem_channels":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name}: expected an integer >= 1, got {value!r}")
