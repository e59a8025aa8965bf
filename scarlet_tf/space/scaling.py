"""Scaling: larger or smaller networks, each dimension by one number.

BetaNAS retrains its network first as found, then with squeeze-and-excitation in all blocks, then wider on top of that.
EfficientNet widens and deepens its network and enlarges the images, all at once. Nothing here imports a framework.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import BlockSpec, InvertedResidualSpec, NetworkSpec


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Scaling of a network before it is retrained; the defaults leave it unchanged.

    width_multiplier: see `scale_width`; depth_multiplier: see `scale_depth`; se_ratio: see `add_squeeze_excite`, which
    comes last. The size of the images is the dataset's.
    """

    width_multiplier: float = 1.0
    se_ratio: float = 0.0
    depth_multiplier: float = 1.0

    @property
    def is_none(self) -> bool:
        """True if every network stays unchanged."""
        return self == Scaling()

    def __str__(self) -> str:
        parts = [f"SE at {self.se_ratio:g}"] if self.se_ratio else []
        parts += [f"{self.width_multiplier:g} x the width"] if self.width_multiplier != 1 else []
        parts += [f"{self.depth_multiplier:g} x the depth"] if self.depth_multiplier != 1 else []
        return " and ".join(parts) or "no scaling"

    def apply(
        self,
        network: Architecture | NetworkSpec,
        input_shape: tuple[int, int, int] | None = None,
        num_classes: int | None = 1000,
    ) -> NetworkSpec:
        """The scaled network; shape and classes are those of an Architecture's, a NetworkSpec has its own.

        InputError if a NetworkSpec is to be widened or deepened: it states neither the origin of its widths
        nor where a stage ends.
        """
        if isinstance(network, Architecture):
            network = scale(network, self.width_multiplier, self.depth_multiplier).lower(input_shape, num_classes)
        else:
            self._check_spec_keeps_its_shape()
        return add_squeeze_excite(network, self.se_ratio)

    def _check_spec_keeps_its_shape(self) -> None:
        for key, word in (("width_multiplier", "widened"), ("depth_multiplier", "deepened")):
            if getattr(self, key) != 1:
                raise InputError(
                    f"{key}: expected 1 for a NetworkSpec, an Architecture can be {word}, got {getattr(self, key)!r}"
                )


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """Coefficients of compound scaling in each dimension; `dropout` is that of the larger network's training."""

    width_multiplier: float
    depth_multiplier: float
    input_size: int
    dropout: float


EFFICIENTNET = {
    "b0": Coefficients(1.0, 1.0, 224, 0.2),
    "b1": Coefficients(1.0, 1.1, 240, 0.2),
    "b2": Coefficients(1.1, 1.2, 260, 0.3),
    "b3": Coefficients(1.2, 1.4, 300, 0.3),
    "b4": Coefficients(1.4, 1.8, 380, 0.4),
}
"""From the authors' public code (tensorflow/tpu, efficientnet_builder.py); the paper (2019) has the formula alone, from
which these differ by rounding."""


def scale(
    architecture: Architecture,
    width_multiplier: float = 1.0,
    depth_multiplier: float = 1.0,
    resolution_multiplier: float = 1.0,
    input_size: int | None = None,
) -> Architecture:
    """Compound scaling: `scale_width`, `scale_depth` and `scale_resolution` in one.

    The result is an architecture like any other, in its own space; costs are counted and networks are built at that
    space's `input_size` (pixels). InputError if both resolution_multiplier and input_size are given, or one is not > 0.
    """
    architecture = scale_depth(scale_width(architecture, width_multiplier), depth_multiplier)
    if input_size is not None and resolution_multiplier != 1:
        raise InputError(f"resolution_multiplier: expected none with input_size, got {resolution_multiplier!r}")
    if input_size is None:
        return scale_resolution(architecture, resolution_multiplier)
    return architecture.within(dataclasses.replace(architecture.space, input_size=input_size))


def scale_width(architecture: Architecture, multiplier: float) -> Architecture:
    """The same choices with all widths times `multiplier`, by the rule of `SearchSpace`.

    That is its `width_multiplier`, multiplied: widths are multiples of 8 and the tail is never narrowed. Expansions stay,
    so hidden channels grow with the widths. InputError unless `multiplier` is finite and > 0.
    """
    _check_multiplier("width_multiplier", multiplier)
    space = architecture.space
    return architecture.within(dataclasses.replace(space, width_multiplier=space.width_multiplier * multiplier))


def scale_depth(architecture: Architecture, multiplier: float) -> Architecture:
    """The same network with ceil(multiplier * n) blocks in each stage of n, by EfficientNet's rule.

    Skipped layers are not blocks [reading: a stand-alone network has nothing there]. Added layers come at the end of their
    stage and repeat the choices of its blocks after the first layer, in order and again from the front [reading:
    EfficientNet's stages hold equal blocks; here the first was chosen for a stride or a change of width]; those of the
    first layer if it has the only block. A multiplier below 1 removes the last blocks of each stage. Stem and tail stay.
    InputError unless `multiplier` is finite and > 0.
    """
    _check_multiplier("depth_multiplier", multiplier)
    space, choices, stages = architecture.space, [], []
    for stage, start in zip(space.stages, _starts(space.stages), strict=True):
        scaled = _deepened(architecture, range(start, start + stage.depth), multiplier)
        stages.append(dataclasses.replace(stage, depth=len(scaled)))
        choices += scaled
    if tuple(stages) == space.stages:
        return architecture
    name = f"{space.name}_depth{multiplier:g}"  # its choices are not in the former space
    return Architecture(tuple(choices), dataclasses.replace(space, name=name, stages=tuple(stages)))


def _starts(stages) -> list[int]:
    return [0, *itertools.accumulate(stage.depth for stage in stages)][:-1]


def _deepened(architecture: Architecture, layers: range, multiplier: float) -> list[int]:
    """The choices of a stage's layers after scaling."""
    chosen = architecture.choices
    blocks = [layer for layer in layers if not architecture.space.choices[chosen[layer]].is_skip]
    wanted = math.ceil(round(multiplier * len(blocks), 6))  # 1.1 * 10 is 11, not 11.000000000000002
    removed = blocks[wanted:]
    repeated = [chosen[layer] for layer in blocks if layer > layers[0]] or [chosen[layer] for layer in blocks]
    added = itertools.islice(itertools.cycle(repeated), max(0, wanted - len(blocks)))
    return [*(chosen[layer] for layer in layers if layer not in removed), *added]


def scale_resolution(architecture: Architecture, multiplier: float) -> Architecture:
    """The same network for images `multiplier` times as large, in pixels of a side, to the nearest multiple of 8.

    [reading: EfficientNet's sizes follow no rule; this one gives 240 for 1.07 and is the rounding of widths.] InputError
    unless `multiplier` is finite and > 0.
    """
    _check_multiplier("resolution_multiplier", multiplier)
    space = architecture.space
    size = space.input_size if multiplier == 1 else max(8, int(space.input_size * multiplier + 4) // 8 * 8)
    return architecture.within(dataclasses.replace(space, input_size=size))


def _check_multiplier(name: str, value: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise InputError(f"{name}: expected a number > 0, got {value!r}")


def add_squeeze_excite(spec: NetworkSpec, ratio: float) -> NetworkSpec:
    """Squeeze-and-excitation in every inverted residual block that has none; ratio 0 changes nothing.

    Its width is max(1, round(ratio * hidden channels)), halves to the even number [reading: relative to the expanded
    channels, as in the choices that have it]. Blocks that have it keep theirs; the stem gets none. InputError unless
    0 <= ratio <= 1.
    """
    if not 0 <= ratio <= 1:
        raise InputError(f"se_ratio: expected a number from 0 to 1, got {ratio!r}")
    return spec.replace(blocks=tuple(_with_squeeze_excite(block, ratio) for block in spec.blocks)) if ratio else spec


def _with_squeeze_excite(block: BlockSpec, ratio: float) -> BlockSpec:
    if not isinstance(block, InvertedResidualSpec) or block.se_channels:
        return block
    return dataclasses.replace(block, se_channels=max(1, round(ratio * block.hidden_channels)))
