"""NetworkSpec: the one intermediate form of a network.

Architectures are lowered to it, costs are counted on it, the Keras builder builds it and folding rewrites it. It holds
no weights and imports no framework. Tensors are [batch, height, width, channels].
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import AsGiven, Between, Positive, as_settings, validated

Activation = Literal["hard_swish", "relu6", "relu", "silu"]
Gate = Literal["hard_sigmoid", "sigmoid"]
Padding = Literal["symmetric", "same"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
GATES: tuple[Gate, ...] = get_args(Gate)
PADDINGS: tuple[Padding, ...] = get_args(Padding)


def check_whole(where: str, value) -> int:
    """`value` as a Python integer; InputError unless it is a positive integer, such as NumPy's."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise InputError(f"{where}: expected an integer >= 1, got {value!r}")
    return number


def check_num_classes(num_classes: int | None) -> int | None:
    """`num_classes` as a Python integer, or None for no classifier; InputError unless it is positive."""
    return None if num_classes is None else check_whole("num_classes", num_classes)


def check_input_shape(input_shape) -> tuple[int, int, int]:
    """The shape as a tuple of Python integers; InputError unless it is (height, width, channels), each a positive integer.

    Tuples, lists and NumPy arrays of them are accepted.
    """
    ordered = isinstance(input_shape, (tuple, list)) or type(input_shape).__module__ == "numpy"
    try:
        height, width, channels = (check_whole("input_shape", side) for side in input_shape if ordered)
    except (TypeError, ValueError) as error:
        message = f"input_shape: expected (height, width, channels), each an integer >= 1, got {input_shape!r}"
        raise InputError(message) from error
    return height, width, channels


def check_choice(where: str, value, allowed: tuple) -> None:
    """Raise InputError unless `value` is one of `allowed`; `where` names it."""
    if value not in allowed:
        raise InputError(f"{where}: expected one of {allowed}, got {value!r}")


@validated("conventions")
@dataclasses.dataclass(frozen=True)
class Conventions:
    """Conventions that frameworks differ in, the same for all layers of a network; the defaults are PyTorch's.

    Args:
        padding: of convolutions with a stride: "symmetric", k // 2 zeros on every side, or "same", TensorFlow's, which puts
            as few as it takes, and an odd one after the image. Without a stride they are equal.
        bn_epsilon, bn_momentum: of batch normalisation. Momentum is the share of the old value, 1 minus PyTorch's.
    """

    padding: Padding = "symmetric"
    bn_epsilon: Annotated[Positive, AsGiven()] = 1e-5
    bn_momentum: Between = 0.9


PYTORCH = Conventions()


@dataclasses.dataclass(frozen=True)
class InvertedResidualSpec:
    """1x1 expand, BN, act; k x k depthwise with stride, BN, act; optional SE; 1x1 project, BN; optional shortcut.

    `se_channels` is the width of the squeeze-and-excitation (0: none), `se_activation` follows its first convolution and
    `se_gate` its last. Without `expand` the block begins with the depthwise convolution, and `hidden_channels` are the
    input's: a depthwise separable convolution.
    """

    name: str
    in_channels: int
    hidden_channels: int
    out_channels: int
    kernel_size: int
    stride: int = 1
    se_channels: int = 0
    residual: bool = False
    activation: Activation = "hard_swish"
    expand: bool = True
    se_gate: Gate = "hard_sigmoid"
    se_activation: Activation = "relu"
    kind: Literal["inverted_residual"] = "inverted_residual"

    def __post_init__(self):
        check_choice(f"{self.name}: activation", self.activation, ACTIVATIONS)
        check_choice(f"{self.name}: se_gate", self.se_gate, GATES)
        check_choice(f"{self.name}: se_activation", self.se_activation, ACTIVATIONS)
        if not self.expand and self.hidden_channels != self.in_channels:
            raise InputError(
                f"{self.name}: hidden_channels: expected {self.in_channels} as there is no expansion, got"
                f" {self.hidden_channels}"
            )
        if self.kernel_size % 2 == 0:
            raise InputError(f"{self.name}: kernel_size: expected an odd number, got {self.kernel_size}")
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise InputError(f"{self.name}: residual: expected stride 1 and equal channels, got {self}")


@dataclasses.dataclass(frozen=True)
class LinearSpec:
    """A 1x1 convolution without bias: a LET. With `activation="relu"` it is the paper's ablation; `batch_norm` follows it."""

    name: str
    in_channels: int
    out_channels: int
    stride: int = 1
    activation: Literal["relu"] | None = None
    batch_norm: bool = False
    kind: Literal["linear"] = "linear"


@dataclasses.dataclass(frozen=True)
class IdentitySpec:
    """Nothing learnt: keeps every `stride`-th pixel, and zero-pads the channels where `out_channels` is larger."""

    name: str
    in_channels: int
    out_channels: int
    stride: int = 1
    kind: Literal["identity"] = "identity"

    def __post_init__(self):
        if self.out_channels < self.in_channels:
            raise InputError(f"{self.name}: an identity cannot narrow {self.in_channels} to {self.out_channels}")


# Fields that are written only if they differ from the default: files saved before they existed compare equal.
_LATER = {
    "batch_norm",
    "expand",
    "se_gate",
    "se_activation",
    "stem_activation",
    "tail_activation",
    "head_channels",
    "head_bias",
    "conventions",
}


def known_fields(spec) -> dict:
    """The fields of a spec that has no others in it, in plain types."""
    fields = {f.name: (getattr(spec, f.name), f.default) for f in dataclasses.fields(spec)}
    return {name: value for name, (value, default) in fields.items() if name not in _LATER or value != default}


BlockSpec = InvertedResidualSpec | LinearSpec | IdentitySpec
_KINDS = {"inverted_residual": InvertedResidualSpec, "linear": LinearSpec, "identity": IdentitySpec}


def block_from_dict(fields: Mapping) -> BlockSpec:
    """The block with these fields, of the class that "kind" names; inverse of `known_fields`."""
    return _KINDS[fields["kind"]](**fields)


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A whole network: stem (3x3 conv, 3x3 depthwise, 1x1 conv), blocks, tail (1x1 conv, pool, dense).

    `first_channels=None` reduces the stem to its first convolution, with its activation. `head_channels` adds a dense
    layer with the tail's activation between pool and classifier, as in MobileNetV3; `head_bias`: that layer has
    a bias.
    `num_classes=None` leaves out classifier and head; `pooling` then selects the output: the feature map after
    the tail's convolution (None) or its spatial mean ("avg") or maximum ("max").
    """

    input_shape: tuple[int, int, int]
    num_classes: int | None
    stem_channels: int
    stem_stride: int
    first_channels: int | None
    blocks: tuple[BlockSpec, ...]
    tail_channels: int
    dropout: float = 0.0
    classifier_activation: str | None = None
    pooling: Literal["avg", "max"] | None = None
    stem_activation: Activation = "relu6"
    tail_activation: Activation = "relu6"
    head_channels: int | None = None
    head_bias: bool = True
    conventions: Conventions = PYTORCH

    def __post_init__(self):
        object.__setattr__(self, "input_shape", check_input_shape(self.input_shape))
        object.__setattr__(self, "num_classes", check_num_classes(self.num_classes))
        check_choice("stem_activation", self.stem_activation, ACTIVATIONS)
        check_choice("tail_activation", self.tail_activation, ACTIVATIONS)
        channels = self.block_channels
        for block in self.blocks:
            if block.in_channels != channels:
                raise InputError(f"{block.name}: in_channels: expected {channels}, got {block.in_channels}")
            channels = block.out_channels
        names = [block.name for block in self.blocks]
        if len(set(names)) != len(names):
            raise InputError(f"blocks: expected unique names, got {names}")

    @property
    def block_channels(self) -> int:
        """Channels that the first block reads: the stem's output."""
        return self.stem_channels if self.first_channels is None else self.first_channels

    @property
    def feature_channels(self) -> int:
        """Channels that the tail's convolution reads."""
        return self.blocks[-1].out_channels if self.blocks else self.block_channels

    def replace(self, **changes) -> NetworkSpec:
        """A copy with the given fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict:
        """Plain JSON types; `NetworkSpec.from_dict` reads them back."""
        fields = known_fields(self)
        fields["input_shape"] = list(self.input_shape)
        fields["blocks"] = [known_fields(block) for block in self.blocks]
        if "conventions" in fields:
            fields["conventions"] = dataclasses.asdict(self.conventions)
        return fields

    @classmethod
    def from_dict(cls, data: dict) -> NetworkSpec:
        """Inverse of `to_dict`."""
        fields = dict(data)
        fields["input_shape"] = tuple(fields["input_shape"])
        fields["blocks"] = tuple(map(block_from_dict, fields["blocks"]))
        fields["conventions"] = as_settings(Conventions, fields.get("conventions"))
        return cls(**fields)
