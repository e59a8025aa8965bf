"""Layouts: names and shapes of a published network's tensors in the state dicts of several libraries.

A layout is a function that names the modules of a network's parts in PyTorch. What is within a module is the same for all:
"weight" and "bias", and BN's "running_mean" and "running_var".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from scarlet_tf.models.foreign.block_string import BlockString
from scarlet_tf.models.network import Arrays
from scarlet_tf.models.torch_weights import StateDict, to_keras
from scarlet_tf.parents.published import Published
from scarlet_tf.space.spec import InvertedResidualSpec, NetworkSpec


@dataclasses.dataclass(frozen=True)
class Place:
    """A block's place: `stage` and `index` in it, `position` among all blocks, each from 0."""

    stage: int
    index: int
    position: int


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of ours with its module: a convolution or dense layer, and the BN after it, if there is one.

    shape: of the weight in PyTorch, [out, in, height, width] or [out, in].
    """

    name: str
    module: str
    norm: str | None
    shape: tuple[int, ...]

    def tensors(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Our name, PyTorch's key and PyTorch's shape of each tensor."""
        channels = (self.shape[0],)
        yield f"{self.name}/kernel", f"{self.module}.weight", self.shape
        if self.norm is None:
            yield f"{self.name}/bias", f"{self.module}.bias", channels
            return
        for ours, theirs in _NORM.items():
            yield f"{self.name}_bn/{ours}", f"{self.norm}.{theirs}", channels


_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
# Of a block's parts (expand, depthwise, project: convolution and BN; se_squeeze, se_excite: convolution), and of "stem",
# "tail" (convolution and BN), "head" and "classifier": the modules' names.
Modules = dict[str, tuple[str, str | None]]


def _efficientnet_pytorch(block: InvertedResidualSpec, place: Place) -> Modules:
    at = f"_blocks.{place.position}."
    return {
        "expand": (f"{at}_expand_conv", f"{at}_bn0"),
        "depthwise": (f"{at}_depthwise_conv", f"{at}_bn1"),
        "se_squeeze": (f"{at}_se_reduce", None),
        "se_excite": (f"{at}_se_expand", None),
        "project": (f"{at}_project_conv", f"{at}_bn2"),
    }


def _ends_of_efficientnet_pytorch(spec: NetworkSpec, stages: int) -> Modules:
    return {"stem": ("_conv_stem", "_bn0"), "tail": ("_conv_head", "_bn1"), "classifier": ("_fc", None)}


LAYOUTS: dict[str, tuple[Callable[[InvertedResidualSpec, Place], Modules], Callable[[NetworkSpec, int], Modules]]] = {
    "efficientnet_pytorch": (_efficientnet_pytorch, _ends_of_efficientnet_pytorch),
}


def layers(model: Published, num_classes: int | None) -> tuple[NetworkSpec, list[Layer]]:
    """The spec of `model` as a Network has it, and the layers of that Network with their modules."""
    spec = model.spec(num_classes)
    block_modules, end_modules = LAYOUTS[model.layout]
    places = list(_places(model))
    ends = end_modules(spec, len({place.stage for place in places}))
    found = [Layer("stem_conv", *ends["stem"], (spec.stem_channels, 3, 3, 3))]
    blocks = [block for block in spec.blocks if isinstance(block, InvertedResidualSpec)]  # block strings have no others
    folded = _with_stem_block(spec, blocks)
    names = ["stem"] * (len(spec.blocks) - len(folded.blocks)) + [block.name for block in folded.blocks]
    for block, place, name in zip(blocks, places, names, strict=True):
        found += _block_layers(block, name, block_modules(block, place))
    found.append(Layer("tail_conv", *ends["tail"], (spec.tail_channels, spec.feature_channels, 1, 1)))
    if num_classes is not None:
        found.append(Layer("classifier", *ends["classifier"], (num_classes, spec.tail_channels)))
    return folded, found


def _places(model: Published) -> Iterator[Place]:
    position = 0
    for stage, strings in enumerate(model.stages):
        index = 0
        for text in [strings] if isinstance(strings, str) else strings:
            for _ in range(BlockString.parse(text).repeats if not text.startswith("cn") else 0):
                yield Place(stage, index, position)
                index, position = index + 1, position + 1


def _with_stem_block(spec: NetworkSpec, blocks: list[InvertedResidualSpec]) -> NetworkSpec:
    """The same network with a first block that is separable and plain as part of the stem, where spaces have it."""
    first, *others = blocks
    plain = not (first.expand or first.se_channels or first.residual)
    if not plain or (first.kernel_size, first.stride, first.activation) != (3, 1, spec.stem_activation):
        return spec
    renamed = tuple(dataclasses.replace(block, name=f"block_{index:02d}") for index, block in enumerate(others))
    return spec.replace(first_channels=first.out_channels, blocks=renamed)


def _block_layers(block: InvertedResidualSpec, name: str, modules: Modules) -> Iterator[Layer]:
    hidden, size, squeeze = block.hidden_channels, block.kernel_size, block.se_channels
    shapes = {
        "expand": (hidden, block.in_channels, 1, 1) if block.expand else None,
        "depthwise": (hidden, 1, size, size),
        "se_squeeze": (squeeze, hidden, 1, 1) if squeeze else None,
        "se_excite": (hidden, squeeze, 1, 1) if squeeze else None,
        "project": (block.out_channels, hidden, 1, 1),
    }
    for part, shape in shapes.items():
        if shape is not None:
            yield Layer(f"{name}_{part}", *modules[part], shape)


def to_arrays(state: StateDict, found: list[Layer]) -> Arrays:
    """The tensors of a state dict that has all of them, under our names and with our axes."""
    return {name: to_keras(name, state[key]).astype(np.float32) for layer in found for name, key, _ in layer.tensors()}
