"""Parts of a space: the choices of a layer, stages of layers, and the form of squeeze-and-excitation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Le

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.mistakes import show
from scarlet_tf.base.settings import AboveZero, AsGiven, Count, Lax, Share, Whole, from_plain, validated
from scarlet_tf.space.spec import Activation, Gate

Source = Literal["expanded", "input"]
Divisor = Literal[1, 8]
SOURCES: tuple[Source, ...] = get_args(Source)
DIVISORS: tuple[Divisor, ...] = get_args(Divisor)
Stride = Annotated[int, Ge(1), Le(2)]


def rounded_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, but not less than 90 % of `channels`: MobileNet's rounding of widths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


@validated("choice")
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

    expansion: Literal[0] | Annotated[float, Ge(1), AsGiven()] = 0
    kernel_size: Whole = 0
    use_se: bool = False
    share: Annotated[Share, AsGiven()] = 0

    forms: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("expansion", "kernel_size", "use_se"),
        ("share", "kernel_size"),
        ("skip",),
    )
    """The keys of a choice in a dict or in YAML, in each of its forms; `use_se` may be left out."""

    def __post_init__(self):
        if self.is_skip:
            return
        if self.share and (self.expansion or self.use_se):
            raise InputError(f"choice: expected share without expansion and use_se, got {self}")
        if not self.share and not self.expansion:
            raise InputError(f"choice.expansion: expected a number >= 1, got {self.expansion}")
        if self.kernel_size % 2 == 0:
            raise InputError(f"choice.kernel_size: expected an odd integer >= 1, got {self.kernel_size}")

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
    def from_dict(cls, data: Mapping) -> Choice:
        """Inverse of `to_dict`."""
        return from_plain(cls, choice_fields(data))


def choice_fields(form: Any) -> Any:
    """The fields of a choice in one of its forms, {skip: true} among them; what is no mapping stays as it is."""
    if not isinstance(form, Mapping) or not set(form) <= {"skip", *Choice.__dataclass_fields__}:
        return form
    if form.get("skip") is True and len(form) == 1:
        return {}
    missing = {"share" if "share" in form else "expansion", "kernel_size"} - form.keys()
    if missing or "skip" in form:
        forms = " or ".join(f"{{{', '.join(keys)}}}".replace("skip", "skip: true") for keys in Choice.forms)
        raise InputError(f"choice: expected {forms}, got {show(dict(form))}")
    return form


@validated("stage")
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

    channels: Count
    depth: Count
    stride: Stride = 1
    activation: Activation | None = None
    hidden_channels: Annotated[tuple[Count, ...], Lax()] | None = None
    kernel_sizes: Annotated[tuple[Count, ...], Lax()] | None = None
    use_se: bool = False
    expand: bool = True

    def __post_init__(self):
        if self.hidden_channels is None and (self.use_se or not self.expand or self.kernel_sizes is not None):
            raise InputError(f"stage: expected hidden_channels with kernel_sizes, use_se or expand: false, got {self}")
        for key in ("hidden_channels", "kernel_sizes"):
            found = getattr(self, key)
            if found is not None and len(found) != self.depth:
                raise InputError(f"stage.{key}: expected {self.depth} integers, one for each layer, got {list(found)}")

    def to_dict(self) -> dict:
        """The fields that are not at their defaults, in plain JSON types; the first three always."""
        fields = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self)}
        found = {
            key: value for key, (value, default) in fields.items() if value != default or key in ("depth", "stride")
        }
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


@validated("squeeze_excite")
@dataclasses.dataclass(frozen=True)
class SqueezeExcite:
    """Squeeze-and-excitation of the choices that have it; the defaults are SCARLET-NAS' and, but for `divisor`, MobileNetV3's.

    Args:
        ratio: of its inner width to the block's.
        source: the width that this is a share of: the block's "expanded" one or that of its "input".
        divisor: 1 rounds that width down to a whole number, 8 to a multiple of 8.
        activation: after its first convolution.
        gate: after its last, "hard_sigmoid" or "sigmoid".
    """

    ratio: Annotated[AboveZero, AsGiven()] = 0.25
    source: Source = "expanded"
    divisor: Divisor = 1
    activation: Activation = "relu"
    gate: Gate = "hard_sigmoid"

    def channels(self, in_channels: int, hidden_channels: int) -> int:
        """The inner width in a block of these widths."""
        width = self.ratio * (in_channels if self.source == "input" else hidden_channels)
        return max(1, int(width)) if self.divisor == 1 else rounded_channels(width)
