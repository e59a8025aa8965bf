"""The search space as a value, and architectures in it.

The published spaces S1 (7 choices a layer) and S2 (13) of SCARLET-NAS (supplement; v2) are available by name;
users declare their own in Python, as a dict or in YAML. Nothing here imports a framework.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from annotated_types import MinLen

from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.base.settings import AsGiven, Count, Lax, Positive, Read, Text, from_plain, validated
from scarlet_tf.base.yaml_files import read_yaml
from scarlet_tf.space.choices import Choice, SqueezeExcite, Stage, Stride, choice_fields, rounded_channels
from scarlet_tf.space.lowering import Layer, blocks_of
from scarlet_tf.space.spec import PYTORCH, Activation, Conventions, NetworkSpec

Published = Literal["s1", "s2"]
ARCHITECTURE_VERSION = 1
_SQUEEZE_EXCITE = SqueezeExcite()


def _published_choices(value: Any) -> Any:
    return _published(value).choices if isinstance(value, str) and value in get_args(Published) else value


@validated("space")
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
        skip_projection: a skip that changes its input's shape is a 1x1 convolution with stride and BN, in the supernet and in
            stand-alone networks, as in NAS-Bench-Macro. Else it is as the supernet's skips are, and a stand-alone network keeps
            every second pixel, or has nothing there.
    """

    name: Text
    stages: Annotated[tuple[Stage, ...], Lax(), MinLen(1)]
    choices: Annotated[
        tuple[Annotated[Choice, Read(choice_fields)], ...], MinLen(1), Read(_published_choices, also=Published)
    ]
    stem_channels: Count = 32
    stem_stride: Stride = 2
    first_channels: Count | None = 16
    tail_channels: Count = 1280
    activation: Activation = "hard_swish"
    width_multiplier: Annotated[Positive, AsGiven()] = 1.0
    input_size: Count = 224
    stem_activation: Activation = "relu6"
    tail_activation: Activation = "relu6"
    head_channels: Count | None = None
    head_bias: bool = True
    squeeze_excite: Annotated[SqueezeExcite, Lax()] = _SQUEEZE_EXCITE
    conventions: Annotated[Conventions, Lax()] = PYTORCH
    skip_projection: bool = False

    def __post_init__(self):
        if ":" in self.name:
            raise InputError(f"space.name: expected a name without ':', got {self.name!r}")
        if len(set(self.choices)) != len(self.choices):
            raise InputError(f"space.choices: expected no repeats, got {[c.label for c in self.choices]}")
        around = {stage.hidden_channels is not None for stage in self.stages}
        around |= {choice.share > 0 for choice in self.choices if not choice.is_skip}
        if len(around) > 1:
            raise InputError("space: expected hidden_channels in every stage and share in every choice, or in none")

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
        known = get_args(Published)
        if not isinstance(name, str) or name not in known:
            raise InputError(
                f"space: expected one of {list(known)} or a mapping, got {name!r}"
                f"{nearest(str(name), known)}; one of your own is the path of a .yaml file"
            )
        return dataclasses.replace(_published(name), **overrides)

    @classmethod
    def from_dict(cls, data: Mapping) -> SearchSpace:
        """Inverse of `to_dict`. `choices` may also be "s1" or "s2": the published list of choices."""
        return from_plain(cls, data)

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


_LATER = {
    "stem_activation",
    "tail_activation",
    "head_channels",
    "head_bias",
    "squeeze_excite",
    "conventions",
    "skip_projection",
}


@functools.cache
def _published(name: str) -> SearchSpace:
    stages = (Stage(32, 2, 2), Stage(40, 4, 2), Stage(80, 4, 2), Stage(96, 4, 1), Stage(192, 4, 2), Stage(320, 1, 1))
    squeezes = (False, True) if name == "s2" else (False,)
    choices = (Choice(e, k, se) for e in (3, 6) for k in (3, 5, 7) for se in squeezes)
    return SearchSpace(name, stages, (*choices, Choice()))


@validated("architecture")
@dataclasses.dataclass(frozen=True)
class _Document:
    """Plain form of an architecture, as `Architecture.to_dict` returns it."""

    version: Literal[1]
    space: str
    choices: tuple[int, ...]


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
        document = from_plain(_Document, data)
        space = space or SearchSpace.from_name(document.space)
        if document.space != space.name:
            raise InputError(f"architecture.space: expected {space.name!r}, got {document.space!r}")
        return cls(document.choices, space)

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
            blocks=tuple(blocks_of(self, ends.block_channels, skip)),
            dropout=dropout,
            classifier_activation=classifier_activation,
            pooling=pooling,
        )
