"""The search space as a value: choices, stages, the space, and architectures in it.

The published spaces S1 (7 choices a layer) and S2 (13) of SCARLET-NAS (supplement; v2) are available by name;
users declare their own in Python, as a dict or in YAML. Nothing here imports a framework.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.base.yaml_files import read_yaml
from scarlet_tf.space.spec import (
    ACTIVATIONS,
    GATES,
    PYTORCH,
    BlockSpec,
    Conventions,
    IdentitySpec,
    InvertedResidualSpec,
    LinearSpec,
    NetworkSpec,
    check_choice,
)

ARCHITECTURE_VERSION = 1
SKIP_MODES = ("let", "identity", "relu", "shortcut")
SE_SOURCES = ("expanded", "input")


def rounded_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, but not less than 90 % of `channels`: MobileNet's rounding of widths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


@dataclasses.dataclass(frozen=True)
class Choice:
    """One candidate of a layer: an inverted residual block, or (all defaults) the skip.

    Args:
        expansion: of the input's width, at least 1; the product is rounded to a multiple of 8 if this is no whole number. With
            1 the block has no expansion and begins with its depthwise convolution, as in MobileNetV2.
        kernel_size: of the depthwise filter, odd.
        use_se: adds squeeze-and-excitation to the block.
        share: of the hidden channels that the layer's stage states, above 0 and up to 1, rounded to a multiple of 8; instead of
            `expansion` and `use_se`, in spaces around a network.
    """

    expansion: float = 0
    kernel_size: int = 0
    use_se: bool = False
    share: float = 0

    def __post_init__(self):
        if self.is_skip:
            return
        if self.share:
            if not _is_number(self.share) or not 0 < self.share <= 1:
                raise InputError(f"choice.share: expected a number above 0 and up to 1, got {self.share!r}")
            if self.expansion or self.use_se:
                raise InputError(f"choice: expected share without expansion and use_se, got {self}")
        elif not _is_number(self.expansion) or not 1 <= self.expansion < math.inf:
            raise InputError(f"choice.expansion: expected a number >= 1, got {self.expansion!r}")
        if not isinstance(self.kernel_size, int) or self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise InputError(f"choice.kernel_size: expected an odd integer >= 1, got {self.kernel_size!r}")
        if not isinstance(self.use_se, bool):
            raise InputError(f"choice.use_se: expected true or false, got {self.use_se!r}")

    @property
    def is_skip(self) -> bool:
        return self.expansion == 0 and self.kernel_size == 0 and not self.use_se and self.share == 0

    @property
    def label(self) -> str:
        """Short readable name, such as "E6K5+SE", "50%K3" or "skip"."""
        if self.is_skip:
            return "skip"
        return f"{'' if self.share else 'E'}{self.width}K{self.kernel_size}{'+SE' if self.use_se else ''}"

    @property
    def width(self) -> str:
        """The expansion, such as "6", or the share, such as "50%"."""
        return f"{100 * self.share:.3g}%" if self.share else f"{self.expansion:g}"

    def to_dict(self) -> dict:
        if self.is_skip:
            return {"skip": True}
        if self.share:
            return {"share": self.share, "kernel_size": self.kernel_size}
        return {"expansion": self.expansion, "kernel_size": self.kernel_size, "use_se": self.use_se}

    @classmethod
    def from_dict(cls, data: Mapping, where: str = "choice") -> Choice:
        _check_keys(data, {"skip", "expansion", "kernel_size", "use_se", "share"}, where)
        if data.get("skip"):
            if len(data) > 1:
                raise InputError(f"{where}: a skip takes no other key, got {dict(data)}")
            return cls()
        for key in ("share" if "share" in data else "expansion", "kernel_size"):
            if key not in data:
                raise InputError(
                    f"{where}.{key}: missing; expected {{expansion, kernel_size, use_se}}, {{share, kernel_size}} or"
                    " {skip: true}"
                )
        return cls(**data)


@dataclasses.dataclass(frozen=True)
class Stage:
    """Layers of one width.

    Args:
        channels: of each layer's output.
        depth: number of layers.
        stride: of the first of them, 1 or 2.
        activation: of their blocks; None for the space's.
        hidden_channels: of each layer, in spaces around a network, whose choices are shares of them. A block keeps them where
            skips in front of it narrow its input.
        kernel_sizes: there, each layer's own; the largest path has these, whatever others cost.
        use_se: there, the blocks have squeeze-and-excitation, as wide as that of the whole hidden channels.
        expand: there, false for blocks that begin with their depthwise convolution; every share is then the whole.
    """

    channels: int
    depth: int
    stride: int = 1
    activation: str | None = None
    hidden_channels: tuple[int, ...] | None = None
    kernel_sizes: tuple[int, ...] | None = None
    use_se: bool = False
    expand: bool = True

    def __post_init__(self):
        if self.hidden_channels is not None:
            self._check_layers()
        elif self.use_se or not self.expand or self.kernel_sizes is not None:
            raise InputError(f"stage: expected hidden_channels with kernel_sizes, use_se or expand: false, got {self}")
        for key, allowed in (("channels", None), ("depth", None), ("stride", (1, 2))):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"stage.{key}: expected an integer >= 1, got {value!r}")
            if allowed and value not in allowed:
                raise InputError(f"stage.{key}: expected one of {allowed}, got {value!r}")
        if self.activation is not None:
            check_choice("stage.activation", self.activation, ACTIVATIONS)

    def _check_layers(self) -> None:
        for key in ("hidden_channels", "kernel_sizes"):
            found = getattr(self, key)
            if found is None and key == "kernel_sizes":
                continue
            known = isinstance(found, (tuple, list)) and all(type(one) is int and one >= 1 for one in found)
            if not known or len(found) != self.depth:
                raise InputError(f"stage.{key}: expected {self.depth} integers >= 1, one for each layer, got {found!r}")
            object.__setattr__(self, key, tuple(found))
        for key in ("use_se", "expand"):
            check_choice(f"stage.{key}", getattr(self, key), (True, False))

    def to_dict(self) -> dict:
        """The fields that are not at their defaults, in plain JSON types; the first three always."""
        fields = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self)}
        found = {
            key: value for key, (value, default) in fields.items() if value != default or key in ("depth", "stride")
        }
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A searchable layer at its place in the supernet; what follows `activation` is as in its Stage, for this layer."""

    index: int
    in_channels: int
    out_channels: int
    stride: int
    activation: str = "hard_swish"
    hidden_channels: int | None = None
    kernel_size: int | None = None
    use_se: bool = False
    expand: bool = True

    @property
    def name(self) -> str:
        return f"block_{self.index:02d}"


@dataclasses.dataclass(frozen=True)
class SqueezeExcite:
    """Squeeze-and-excitation of the choices that have it; the defaults are SCARLET-NAS' and, but for `divisor`, MobileNetV3's.

    Args:
        ratio: of its inner width to the block's "expanded" or "input" width, which `source` names.
        divisor: 1 rounds that width down to a whole number, 8 to a multiple of 8.
        activation: after its first convolution.
        gate: after its last, "hard_sigmoid" or "sigmoid".
    """

    ratio: float = 0.25
    source: str = "expanded"
    divisor: int = 1
    activation: str = "relu"
    gate: str = "hard_sigmoid"

    def __post_init__(self):
        number = isinstance(self.ratio, (int, float)) and not isinstance(self.ratio, bool)
        if not number or not 0 < self.ratio <= 1:
            raise InputError(f"squeeze_excite.ratio: expected a number above 0 and up to 1, got {self.ratio!r}")
        for key, allowed in (
            ("source", SE_SOURCES),
            ("divisor", (1, 8)),
            ("activation", ACTIVATIONS),
            ("gate", GATES),
        ):
            check_choice(f"squeeze_excite.{key}", getattr(self, key), allowed)

    def channels(self, in_channels: int, hidden_channels: int) -> int:
        """The inner width in a block of these widths."""
        width = self.ratio * (in_channels if self.source == "input" else hidden_channels)
        return max(1, int(width)) if self.divisor == 1 else rounded_channels(width)


_SQUEEZE_EXCITE = SqueezeExcite()


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """Stages x choices, with the fixed stem and tail around them.

    Args:
        name: for people and file names.
        stages: from the largest images to the smallest.
        choices: of every layer; in a dict or YAML also "s1" or "s2" for the published ones.
        stem_channels: of the 3x3 convolution in front.
        stem_stride: its stride, 1 or 2.
        first_channels: of the depthwise separable block after it; None for no such block.
        tail_channels: of the 1x1 convolution after the stages; never narrowed.
        activation: of the choices' blocks.
        width_multiplier: of all other widths, rounded to multiples of 8.
        input_size: side of the image, in pixels, that costs are counted at unless another is given.
        stem_activation, tail_activation: of stem and tail.
        head_channels: of the dense layer in front of the classifier, as in MobileNetV3; never narrowed. None for none.
        head_bias: that layer has a bias.
        squeeze_excite: form of the choices' squeeze-and-excitation, a mapping in a dict or YAML.
        conventions: padding and batch normalisation of all layers, likewise.
    """

    name: str
    stages: tuple[Stage, ...]
    choices: tuple[Choice, ...]
    stem_channels: int = 32
    stem_stride: int = 2
    first_channels: int | None = 16
    tail_channels: int = 1280
    activation: str = "hard_swish"
    width_multiplier: float = 1.0
    input_size: int = 224
    stem_activation: str = "relu6"
    tail_activation: str = "relu6"
    head_channels: int | None = None
    head_bias: bool = True
    squeeze_excite: SqueezeExcite = _SQUEEZE_EXCITE
    conventions: Conventions = PYTORCH

    def __post_init__(self):
        if not self.name or not isinstance(self.name, str) or ":" in self.name:
            raise InputError(f"space.name: expected a non-empty string without ':', got {self.name!r}")
        if not self.stages:
            raise InputError("space.stages: expected at least one stage, got none")
        if not self.choices:
            raise InputError("space.choices: expected at least one choice, got none")
        if len(set(self.choices)) != len(self.choices):
            raise InputError(f"space.choices: expected no repeats, got {[c.label for c in self.choices]}")
        around = {stage.hidden_channels is not None for stage in self.stages}
        around |= {choice.share > 0 for choice in self.choices if not choice.is_skip}
        if len(around) > 1:
            raise InputError("space: expected hidden_channels in every stage and share in every choice, or in none")
        for key in ("activation", "stem_activation", "tail_activation"):
            check_choice(f"space.{key}", getattr(self, key), ACTIVATIONS)
        check_choice("space.head_bias", self.head_bias, (True, False))
        if self.stem_stride not in (1, 2):
            raise InputError(f"space.stem_stride: expected 1 or 2, got {self.stem_stride!r}")
        for key in ("stem_channels", "first_channels", "tail_channels", "head_channels", "input_size"):
            value = getattr(self, key)
            if value is None and key in ("first_channels", "head_channels"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"space.{key}: expected an integer >= 1, got {value!r}")
        if not isinstance(self.width_multiplier, (int, float)) or not 0 < self.width_multiplier < math.inf:
            raise InputError(f"space.width_multiplier: expected a number > 0, got {self.width_multiplier!r}")

    # -- structure ------------------------------------------------------------------------------------------

    @property
    def num_layers(self) -> int:
        return sum(stage.depth for stage in self.stages)

    @property
    def num_choices(self) -> int:
        return len(self.choices)

    @property
    def size(self) -> int:
        """Number of architectures in the space."""
        return self.num_choices**self.num_layers

    @property
    def widths(self) -> tuple[int, int, int]:
        """Channels after the stem's first convolution, after the stem, and of the tail; multiplied."""
        stem = self._scaled(self.stem_channels)
        first = stem if self.first_channels is None else self._scaled(self.first_channels)
        return stem, first, max(self.tail_channels, self._scaled(self.tail_channels))

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        layers: list[Layer] = []
        channels = self.widths[1]
        for stage in self.stages:
            width = self._scaled(stage.channels)
            for i in range(stage.depth):
                stride, activation = stage.stride if i == 0 else 1, stage.activation or self.activation
                hidden = None if stage.hidden_channels is None else self._scaled(stage.hidden_channels[i])
                kernel = None if stage.kernel_sizes is None else stage.kernel_sizes[i]
                form = (hidden if stage.expand else channels, kernel, stage.use_se, stage.expand)
                layers.append(Layer(len(layers), channels, width, stride, activation, *form))
                channels = width
        return tuple(layers)

    def ends(self, input_shape: tuple[int, int, int] | None = None, num_classes: int | None = 1000) -> NetworkSpec:
        """Stem and tail of the space's networks: a NetworkSpec without blocks."""
        size = self.input_size
        stem, first, tail = self.widths
        head = self.head_channels
        return NetworkSpec(
            input_shape=(size, size, 3) if input_shape is None else input_shape,
            num_classes=num_classes,
            stem_channels=stem,
            stem_stride=self.stem_stride,
            first_channels=None if self.first_channels is None else first,
            blocks=(),
            tail_channels=tail,
            stem_activation=self.stem_activation,
            tail_activation=self.tail_activation,
            head_channels=head and max(head, self._scaled(head)),
            head_bias=self.head_bias,
            conventions=self.conventions,
        )

    def _scaled(self, channels: int) -> int:
        return channels if self.width_multiplier == 1 else rounded_channels(channels * self.width_multiplier)

    # -- architectures --------------------------------------------------------------------------------------

    def sample(self, rng) -> Architecture:
        """An architecture drawn uniformly with `rng`, a numpy.random.Generator."""
        return Architecture(tuple(int(c) for c in rng.integers(self.num_choices, size=self.num_layers)), self)

    # -- forms ----------------------------------------------------------------------------------------------

    @classmethod
    def from_name(cls, name: str, **overrides) -> SearchSpace:
        """ "s1" or "s2", with fields such as `width_multiplier`, `input_size` or `activation` overridden."""
        if not isinstance(name, str) or name not in _PUBLISHED:
            raise InputError(
                f"space: expected one of {sorted(_PUBLISHED)} or a mapping, got {name!r}"
                f"{nearest(str(name), _PUBLISHED)}; one of your own is the path of a .yaml file"
            )
        return dataclasses.replace(_PUBLISHED[name], **overrides)

    @classmethod
    def from_dict(cls, data: Mapping) -> SearchSpace:
        """Inverse of `to_dict`. `choices` may also be "s1" or "s2": the published list of choices."""
        if not isinstance(data, Mapping):
            raise InputError(f"space: expected a mapping, got {'nothing' if data is None else type(data).__name__}")
        _check_keys(data, {f.name for f in dataclasses.fields(cls)}, "space")
        for key in ("name", "stages", "choices"):
            if key not in data:
                raise InputError(f"space.{key}: missing")
        fields = dict(data)
        fields["stages"] = tuple(
            _stage(s, f"space.stages[{i}]") for i, s in enumerate(_list(data["stages"], "space.stages"))
        )
        if isinstance(data["choices"], str):
            fields["choices"] = cls.from_name(data["choices"]).choices
        else:
            entries = _list(data["choices"], "space.choices")
            fields["choices"] = tuple(Choice.from_dict(c, f"space.choices[{i}]") for i, c in enumerate(entries))
        for key, kind in (("squeeze_excite", SqueezeExcite), ("conventions", Conventions)):
            if key in data:
                _check_keys(data[key], {f.name for f in dataclasses.fields(kind)}, f"space.{key}")
                fields[key] = kind(**data[key])
        return cls(**fields)

    @classmethod
    def from_yaml(cls, path) -> SearchSpace:
        """A space from a YAML file with the keys of `to_dict`."""
        data = read_yaml(path)
        try:
            return cls.from_dict(data)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def to_dict(self) -> dict:
        """Plain JSON types; fields that later versions added are left out if they have their defaults."""
        fields = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in _LATER or getattr(self, f.name) != f.default
        }
        for key in {"squeeze_excite", "conventions"} & fields.keys():
            fields[key] = dataclasses.asdict(fields[key])
        fields["stages"] = [stage.to_dict() for stage in self.stages]
        fields["choices"] = [choice.to_dict() for choice in self.choices]
        return fields

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change whenever anything in the space does."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """An immutable tuple of choice indices, one a layer, bound to its space and validated once."""

    choices: tuple[int, ...]
    space: SearchSpace

    def __post_init__(self):
        object.__setattr__(self, "choices", tuple(self.choices))
        if len(self.choices) != self.space.num_layers:
            raise InputError(
                f"architecture: space {self.space.name!r} has {self.space.num_layers} layers, got {len(self.choices)} choices"
            )
        for layer, choice in enumerate(self.choices):
            if isinstance(choice, bool) or not hasattr(choice, "__index__"):
                raise InputError(f"architecture: layer {layer}: expected an integer, got {choice!r}")
            if not 0 <= choice < self.space.num_choices:
                raise InputError(
                    f"architecture: layer {layer}: expected a choice from 0 to {self.space.num_choices - 1}, got {choice}"
                )
        object.__setattr__(self, "choices", tuple(int(c) for c in self.choices))

    @classmethod
    def parse(cls, text: str, space: SearchSpace) -> Architecture:
        """Parse "4,8,2,...", optionally with the space's name in front: "s2:4,8,2,..."."""
        name, _, encoding = text.strip().rpartition(":")
        if name and name != space.name:
            raise InputError(f"architecture: it belongs to space {name!r}, expected {space.name!r}")
        parts = [part.strip() for part in encoding.split(",")]
        for layer, part in enumerate(parts):
            if not part.isdecimal():
                raise InputError(f"architecture: layer {layer}: expected an integer, got {part!r}")
        return cls(tuple(int(part) for part in parts), space)

    def within(self, space: SearchSpace) -> Architecture:
        """The same choices in `space`, which may have other widths or sizes but no other layers or choices."""
        if (self.space.num_layers, self.space.choices) != (space.num_layers, space.choices):
            raise InputError(f"architecture: it belongs to space {self.space.name!r}, expected {space.name!r}")
        return Architecture(self.choices, space)

    def to_string(self) -> str:
        """The canonical string: the choice indices joined by commas."""
        return ",".join(str(choice) for choice in self.choices)

    def to_dict(self) -> dict:
        return {"version": ARCHITECTURE_VERSION, "space": self.space.name, "choices": list(self.choices)}

    @classmethod
    def from_dict(cls, data: Mapping, space: SearchSpace | None = None) -> Architecture:
        """Inverse of `to_dict`; `space` is needed for spaces other than s1 and s2."""
        _check_keys(data, {"version", "space", "choices"}, "architecture")
        if data.get("version") != ARCHITECTURE_VERSION:
            raise InputError(f"architecture.version: expected {ARCHITECTURE_VERSION}, got {data.get('version')!r}")
        space = space or SearchSpace.from_name(cast(str, data.get("space")))
        if data.get("space") != space.name:
            raise InputError(f"architecture.space: expected {space.name!r}, got {data.get('space')!r}")
        return cls(tuple(_list(data.get("choices"), "architecture.choices")), space)

    def lower(
        self,
        input_shape: tuple[int, int, int] | None = None,
        num_classes: int | None = 1000,
        *,
        skip: Literal["nothing", "let", "identity", "relu", "shortcut"] = "nothing",
        dropout: float = 0.0,
        classifier_activation: str | None = None,
        pooling: Literal["avg", "max"] | None = None,
    ) -> NetworkSpec:
        """The network as a NetworkSpec.

        `skip="nothing"` gives the stand-alone network: a skipped layer is absent (at stride 2 it keeps
        every second pixel) and the next block takes the narrower input. The other values give the path
        in a supernet with that kind of skip.
        """
        ends = self.space.ends(input_shape, num_classes)
        return ends.replace(
            blocks=tuple(_lower_blocks(self, ends.block_channels, skip)),
            dropout=dropout,
            classifier_activation=classifier_activation,
            pooling=pooling,
        )


def block_spec(space: SearchSpace, layer: Layer, choice: Choice, in_channels: int, skip: str) -> BlockSpec | None:
    """One choice of one layer reading `in_channels`; None if the layer is absent."""
    if not choice.is_skip:
        return _inverted_residual(space, layer, choice, in_channels)
    if skip == "nothing":
        return IdentitySpec(layer.name, in_channels, in_channels, layer.stride) if layer.stride > 1 else None
    keeps_shape = layer.stride == 1 and layer.in_channels == layer.out_channels
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


def _lower_blocks(architecture: Architecture, channels: int, skip: str):
    space = architecture.space
    for layer, index in zip(space.layers, architecture.choices, strict=True):
        if skip == "nothing":
            blocks = standalone_blocks(space, layer, space.choices[index], channels)
        else:
            block = block_spec(space, layer, space.choices[index], channels, skip)
            blocks = () if block is None else (block,)
        yield from blocks
        channels = blocks[-1].out_channels if blocks else channels


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_keys(data, allowed: set[str], where: str) -> None:
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: expected a mapping, got {data!r}")
    for key in data:
        if key not in allowed:
            raise InputError(f"{where}.{key}: unknown key; expected one of {sorted(allowed)}")


def _list(value, where: str) -> Sequence:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(f"{where}: expected a list, got {value!r}")
    return value


def _stage(data, where: str) -> Stage:
    _check_keys(data, {f.name for f in dataclasses.fields(Stage)}, where)
    try:
        return Stage(**data)
    except TypeError as error:
        raise InputError(f"{where}: expected the keys channels, depth and stride, got {dict(data)}") from error
    except InputError as error:
        raise InputError(str(error).replace("stage", where, 1)) from error


_LATER = {
    "stem_activation",
    "tail_activation",
    "head_channels",
    "head_bias",
    "squeeze_excite",
    "conventions",
}
_STAGES = (Stage(32, 2, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2), Stage(320, 1, 1))
_S1_CHOICES = (*(Choice(e, k) for e in (3, 6) for k in (3, 5, 7)), Choice())
_S2_CHOICES = (*(Choice(e, k, se) for e in (3, 6) for k in (3, 5, 7) for se in (False, True)), Choice())
_PUBLISHED = {
    "s1": SearchSpace("s1", _STAGES, _S1_CHOICES),
    "s2": SearchSpace("s2", _STAGES, _S2_CHOICES),
}
