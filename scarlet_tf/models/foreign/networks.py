"""Networks from block strings and files, as NetworkSpec or as an architecture of a space; docs/foreign.md has the forms."""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.base.settings import Count, Positive, as_settings, validated
from scarlet_tf.base.yaml_files import read_yaml
from scarlet_tf.models.foreign.block_string import BlockString, parse_stages
from scarlet_tf.models.foreign.ofa import network_from_ofa
from scarlet_tf.space.choices import Choice, Stride, rounded_channels
from scarlet_tf.space.lowering import Layer
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import (
    PYTORCH,
    Activation,
    Conventions,
    Gate,
    InvertedResidualSpec,
    NetworkSpec,
)

_YAML, _JSON = (".yaml", ".yml"), (".json", ".config")


def is_network_file(text: str) -> bool:
    """True if `text` names a file of such a form, by its ending."""
    return pathlib.Path(text).suffix in _YAML + _JSON


def network_from_file(path, input_size: int | None = None, num_classes: int | None = None) -> NetworkSpec:
    """The network that the file describes: block strings, a `net.config`, or a path through an OFA supernet.

    input_size: side of a square image in pixels; both take precedence over the file's values. InputError names the file.
    """
    data = _read(path)
    try:
        if "first_conv" in data or "ks" in data:
            shape = None if input_size is None else (input_size, input_size, 3)
            return network_from_ofa(data, input_shape=shape, num_classes=num_classes)
        return _from_blocks(dict(data), input_size, num_classes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _from_blocks(data: dict, input_size: int | None, num_classes: int | None) -> NetworkSpec:
    data.pop("name", None)
    size = data.pop("input_size", 224)
    options = set(inspect.signature(network_from_blocks).parameters) - {"input_shape"}
    unknown = sorted(data.keys() - options)
    if unknown:
        expected = ", ".join(["name", "input_size", *sorted(options)])
        raise InputError(f"{unknown[0]}: unknown key; expected {expected}, or the keys of a net.config or of a path")
    if "blocks" not in data:
        raise InputError("blocks: missing; expected a list of block strings")
    if num_classes is not None:
        data["num_classes"] = num_classes
    size = size if input_size is None else input_size
    return network_from_blocks(**data, input_shape=(size, size, 3))


def _read(path) -> Mapping:
    data = read_json(path) if pathlib.Path(path).suffix in _JSON else read_yaml(path)
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: expected a mapping, got {'nothing' if data is None else type(data).__name__}")
    return data


TAIL_CHANNELS = 1280


@validated("")
@dataclasses.dataclass(frozen=True)
class _Options:
    """The checked options of `network_from_blocks`, which says what they mean."""

    stem_channels: Count
    stem_stride: Stride
    tail_channels: Count | None
    head_channels: Count | None
    head_bias: bool
    activation: Activation
    width_multiplier: Positive
    se_from: Literal["input", "expanded"]
    se_divisor: Literal[1, 8]
    se_gate: Gate
    se_activation: Activation
    conventions: Conventions

    def se_channels(self, block: BlockString, hidden: int) -> int:
        """Width of the squeeze in a block of `hidden` channels; 0 where there is none.

        The share is taken of `hidden` also with `se_from="input"`, and rounded to the nearest, as in timm; SqueezeExcite
        rounds a share of the input's width down.
        """
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
    activation: Activation = "relu",
    width_multiplier: float = 1.0,
    se_from: Literal["input", "expanded"] = "input",
    se_divisor: Literal[1, 8] = 1,
    se_gate: Gate = "sigmoid",
    se_activation: Activation = "relu",
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
    frame = (stem_channels, stem_stride, tail_channels, head_channels, head_bias, activation, width_multiplier)
    options = _Options(*frame, se_from, se_divisor, se_gate, se_activation, as_settings(Conventions, conventions))
    tail = _tail_channels(strings.pop(), options) if strings[-1].kind == "cn" else tail_channels
    return NetworkSpec(
        input_shape=input_shape,
        num_classes=num_classes,
        stem_channels=stem_channels,
        stem_stride=stem_stride,
        first_channels=None,
        blocks=tuple(_block_specs(strings, options)),
        tail_channels=TAIL_CHANNELS if tail is None else tail,
        stem_activation=options.activation,
        tail_activation=options.activation,
        head_channels=head_channels,
        head_bias=head_bias,
        conventions=options.conventions,
    )


def _block_specs(strings: Iterable[BlockString], options: _Options) -> Iterator[InvertedResidualSpec]:
    channels, index = options.stem_channels, 0
    for block in strings:
        if block.kind not in ("ir", "ds"):
            place = "only the last string may be cn, the tail" if block.kind == "cn" else "leave the block out"
            raise InputError(f"{block.text}: block type {block.kind!r} cannot be expressed here; {place}")
        width = rounded_channels(block.channels * options.width_multiplier)
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
                se_channels=options.se_channels(block, hidden),
                residual=block.shortcut and stride == 1 and channels == width,
                activation=block.activation or options.activation,
                expand=block.kind == "ir",
                se_gate=options.se_gate if block.se_ratio else "hard_sigmoid",
                se_activation=options.se_activation if block.se_ratio else "relu",
            )
            channels, index = width, index + 1


def _tail_channels(block: BlockString, options: _Options) -> int:
    if (block.repeats, block.kernel_size, block.stride) != (1, 1, 1):
        raise InputError(f"{block.text}: expected r1, k1 and s1, the only convolution that can be expressed")
    if options.tail_channels is not None:
        raise InputError(f"tail_channels: expected none beside {block.text}, got {options.tail_channels}")
    if block.activation not in (None, options.activation):
        wanted = f"expected the network's activation, {options.activation}, got {block.activation}"
        raise InputError(f"{block.text}: n: {wanted}")
    return rounded_channels(block.channels * options.width_multiplier)


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
