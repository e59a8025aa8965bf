"""ParentConfig: the trained network that a run starts from. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from annotated_types import Gt, Le, MinLen

from scarlet_tf.base.settings import Count, Lax, Text, Whole, validated


@validated("parent")
@dataclasses.dataclass(frozen=True)
class ParentConfig:
    """A trained network that the search starts from: its layers are the space, its weights those that every choice begins with.

    Args:
        name: "lite0", "lite1" or "lite2" of the extra "pretrained", a name of the zoo with weights, a checkpoint or Keras file,
            relative to the configuration, or a run folder; null trains from scratch. `space` is then "parent".
        width_multiplier: of the parent's channels, except those of its tail; the most important ones are left.
        shares: of each layer's hidden channels, as choices; 1 is the parent's own.
        kernel_sizes: of the choices; null for those that the parent has.
        extra_depth: further layers at the end of each stage, which begin as the identity.
        images: training images that linear transformations and a new classifier are fitted to before the training.
    """

    name: Text | None = None
    width_multiplier: Annotated[float, Gt(0), Le(1)] = 1.0
    shares: Annotated[tuple[Annotated[float, Gt(0), Le(1)], ...], Lax(), MinLen(1)] = (1.0, 0.5)
    kernel_sizes: Annotated[tuple[Count, ...], Lax(), MinLen(1)] | None = None
    extra_depth: Whole = 0
    images: Count = 512
