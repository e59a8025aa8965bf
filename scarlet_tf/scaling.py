"""Scaling: what makes a found network larger before it is retrained, each way by one number.

BetaNAS retrains its network first as found, then with squeeze-and-excitation in all blocks, then wider on top of that.
Nothing here imports a framework.
"""

from __future__ import annotations

import dataclasses

from scarlet_tf.errors import InputError
from scarlet_tf.space import Architecture
from scarlet_tf.spec import BlockSpec, InvertedResidualSpec, NetworkSpec


@dataclasses.dataclass(frozen=True)
class Scaling:
    """How a network is scaled; the defaults leave it as it is.

    width_multiplier: see `scale_width`; se_ratio: see `add_squeeze_excite`, which comes second.
    """

    width_multiplier: float = 1.0
    se_ratio: float = 0.0

    @property
    def is_none(self) -> bool:
        """Whether every network stays as it is."""
        return self == Scaling()

    def __str__(self) -> str:
        parts = [f"SE at {self.se_ratio:g}"] if self.se_ratio else []
        parts += [f"{self.width_multiplier:g} x the width"] if self.width_multiplier != 1 else []
        return " and ".join(parts) or "no scaling"

    def apply(
        self,
        network: Architecture | NetworkSpec,
        input_shape: tuple[int, int, int] | None = None,
        num_classes: int | None = 1000,
    ) -> NetworkSpec:
        """The scaled network; shape and classes are those of an Architecture's, a NetworkSpec has its own.

        InputError where a NetworkSpec is to be widened: it does not say which of its widths come from where.
        """
        if isinstance(network, Architecture):
            network = scale_width(network, self.width_multiplier).lower(input_shape, num_classes)
        elif self.width_multiplier != 1:
            raise InputError(
                "width_multiplier: expected 1 for a NetworkSpec, an Architecture can be widened,"
                f" got {self.width_multiplier!r}"
            )
        return add_squeeze_excite(network, self.se_ratio)


def scale_width(architecture: Architecture, multiplier: float) -> Architecture:
    """The same choices where all widths are `multiplier` times what they were, by the rule of `SearchSpace`.

    That is its `width_multiplier`, multiplied: widths are multiples of 8 and the tail is never narrowed. Expansions stay,
    so hidden channels grow with the widths. InputError unless `multiplier` is finite and > 0.
    """
    space = architecture.space
    return architecture.within(dataclasses.replace(space, width_multiplier=space.width_multiplier * multiplier))


def add_squeeze_excite(spec: NetworkSpec, ratio: float) -> NetworkSpec:
    """Squeeze-and-excitation in every inverted residual block that has none; ratio 0 changes nothing.

    Its width is max(1, round(ratio * hidden channels)), halves to the even number [reading: relative to the expanded
    channels, as where a choice has it]. Blocks that have it keep theirs; the stem gets none. InputError unless
    0 <= ratio <= 1.
    """
    if not 0 <= ratio <= 1:
        raise InputError(f"se_ratio: expected a number from 0 to 1, got {ratio!r}")
    return spec.replace(blocks=tuple(_with_squeeze_excite(block, ratio) for block in spec.blocks)) if ratio else spec


def _with_squeeze_excite(block: BlockSpec, ratio: float) -> BlockSpec:
    if not isinstance(block, InvertedResidualSpec) or block.se_channels:
        return block
    return dataclasses.replace(block, se_channels=max(1, round(ratio * block.hidden_channels)))
