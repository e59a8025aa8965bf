"""Layouts: names and shapes of a published network's tensors in the state dicts of several libraries.

A layout names the modules of a network's parts in PyTorch. What is within a module is the same for all: "weight" and "bias",
and BN's "running_mean" and "running_var".
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np

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
# The modules of parts. A block's are "expand", "depthwise" and "project" (a convolution and its BN), "se_squeeze" and
# "se_excite" (a convolution). A network's are "stem" and "tail" (a convolution and its BN), "head" and "classifier".
Modules = dict[str, tuple[str, str | None]]


class _EfficientNetPyTorch:
    first_key = "_conv_stem.weight"

    @staticmethod
    def block(block: InvertedResidualSpec, place: Place) -> Modules:
        at = f"_blocks.{place.position}."
        return {
            "expand": (f"{at}_expand_conv", f"{at}_bn0"),
            "depthwise": (f"{at}_depthwise_conv", f"{at}_bn1"),
            "se_squeeze": (f"{at}_se_reduce", None),
            "se_excite": (f"{at}_se_expand", None),
            "project": (f"{at}_project_conv", f"{at}_bn2"),
        }

    @staticmethod
    def ends(spec: NetworkSpec, stages: int) -> Modules:
        return {"stem": ("_conv_stem", "_bn0"), "tail": ("_conv_head", "_bn1"), "classifier": ("_fc", None)}


class _Timm:
    first_key = "conv_stem.weight"

    @staticmethod
    def block(block: InvertedResidualSpec, place: Place) -> Modules:
        at = f"blocks.{place.stage}.{place.index}."
        squeeze: Modules = {"se_squeeze": (f"{at}se.conv_reduce", None), "se_excite": (f"{at}se.conv_expand", None)}
        if not block.expand:
            return {"depthwise": (f"{at}conv_dw", f"{at}bn1"), "project": (f"{at}conv_pw", f"{at}bn2"), **squeeze}
        return {
            "expand": (f"{at}conv_pw", f"{at}bn1"),
            "depthwise": (f"{at}conv_dw", f"{at}bn2"),
            "project": (f"{at}conv_pwl", f"{at}bn3"),
            **squeeze,
        }

    @staticmethod
    def ends(spec: NetworkSpec, stages: int) -> Modules:
        modules: Modules = {"stem": ("conv_stem", "bn1"), "classifier": ("classifier", None)}
        if spec.head_channels is None:
            return {**modules, "tail": ("conv_head", "bn2")}
        return {**modules, "tail": (f"blocks.{stages}.0.conv", f"blocks.{stages}.0.bn1"), "head": ("conv_head", None)}


class _TorchvisionV2:
    """Of MobileNetV2: a block is a sequence, in which the projection and its BN stand alone."""

    first_key = "features.1.conv.0.0.weight"

    @staticmethod
    def block(block: InvertedResidualSpec, place: Place) -> Modules:
        at, last = f"features.{place.position + 1}.conv", 2 if block.expand else 1
        return {
            "expand": (f"{at}.0.0", f"{at}.0.1"),
            "depthwise": (f"{at}.{last - 1}.0", f"{at}.{last - 1}.1"),
            "project": (f"{at}.{last}", f"{at}.{last + 1}"),
        }

    @staticmethod
    def ends(spec: NetworkSpec, stages: int) -> Modules:
        tail = f"features.{len(spec.blocks) + 1}"
        return {
            "stem": ("features.0.0", "features.0.1"),
            "tail": (f"{tail}.0", f"{tail}.1"),
            "classifier": ("classifier.1", None),
        }


def _sequence(block: InvertedResidualSpec, at: str) -> Modules:
    """Of MobileNetV3 and EfficientNet in torchvision: a sequence of the parts that there are."""
    parts = [
        *(["expand"] if block.expand else []),
        "depthwise",
        *(["se"] if block.se_channels else []),
        "project",
    ]
    modules: Modules = {part: (f"{at}.{index}.0", f"{at}.{index}.1") for index, part in enumerate(parts)}
    if block.se_channels:
        index = parts.index("se")
        modules |= {"se_squeeze": (f"{at}.{index}.fc1", None), "se_excite": (f"{at}.{index}.fc2", None)}
    return modules


class _TorchvisionV3(_TorchvisionV2):
    first_key = "features.1.block.0.0.weight"

    @staticmethod
    def block(block: InvertedResidualSpec, place: Place) -> Modules:
        return _sequence(block, f"features.{place.position + 1}.block")

    @staticmethod
    def ends(spec: NetworkSpec, stages: int) -> Modules:
        modules = _TorchvisionV2.ends(spec, stages)
        return {**modules, "head": ("classifier.0", None), "classifier": ("classifier.3", None)}


class _TorchvisionEfficientNet:
    first_key = "features.1.0.block.0.0.weight"

    @staticmethod
    def block(block: InvertedResidualSpec, place: Place) -> Modules:
        return _sequence(block, f"features.{place.stage + 1}.{place.index}.block")

    @staticmethod
    def ends(spec: NetworkSpec, stages: int) -> Modules:
        tail = f"features.{stages + 1}"
        return {**_TorchvisionV2.ends(spec, stages), "tail": (f"{tail}.0", f"{tail}.1")}


class _TorchvisionMnasNet:
    """The separable block after the stem, and only that one, is not nested."""

    first_key = "layers.0.weight"

    @staticmethod
    def block(block: InvertedResidualSpec, place: Place) -> Modules:
        if place.position == 0:
            return {"depthwise": ("layers.3", "layers.4"), "project": ("layers.6", "layers.7")}
        at = f"layers.{place.stage + 7}.{place.index}.layers"
        parts = {"expand": 0, "depthwise": 3, "project": 6}
        return {part: (f"{at}.{index}", f"{at}.{index + 1}") for part, index in parts.items()}

    @staticmethod
    def ends(spec: NetworkSpec, stages: int) -> Modules:
        stem, tail, classifier = ("layers.0", "layers.1"), ("layers.14", "layers.15"), ("classifier.1", None)
        return {"stem": stem, "tail": tail, "classifier": classifier}


class Layout(Protocol):
    """Modules by their names in PyTorch, and the key by which a state dict of this layout is known."""

    first_key: str

    @staticmethod
    def block(block: InvertedResidualSpec, place: Place) -> Modules: ...

    @staticmethod
    def ends(spec: NetworkSpec, stages: int) -> Modules: ...


LAYOUTS: dict[str, type[Layout]] = {
    "efficientnet_pytorch": _EfficientNetPyTorch,
    "timm": _Timm,
    "torchvision_v2": _TorchvisionV2,
    "torchvision_v3": _TorchvisionV3,
    "torchvision_efficientnet": _TorchvisionEfficientNet,
    "torchvision_mnasnet": _TorchvisionMnasNet,
}


def layers(model: Published, num_classes: int | None) -> tuple[NetworkSpec, list[Layer]]:
    """The spec of `model` as a Network has it, and the layers of that Network with their modules."""
    spec, layout, ends = model.spec(num_classes), LAYOUTS[model.layout], _ends(model)
    found = [Layer("stem_conv", *ends["stem"], (spec.stem_channels, 3, 3, 3))]
    blocks = [block for block in spec.blocks if isinstance(block, InvertedResidualSpec)]  # block strings have no others
    folded = _with_stem_block(spec, blocks)
    names = ["stem"] * (len(spec.blocks) - len(folded.blocks)) + [block.name for block in folded.blocks]
    for block, place, name in zip(blocks, _places(model), names, strict=True):
        found += _block_layers(block, name, layout.block(block, place))
    features = spec.tail_channels
    found.append(Layer("tail_conv", *ends["tail"], (features, spec.feature_channels, 1, 1)))
    if num_classes is None:
        return folded.replace(head_channels=None), found
    if spec.head_channels is not None:
        is_conv = model.layout == "timm"  # of a pooled pixel
        found.append(Layer("head", *ends["head"], (spec.head_channels, features, *([1, 1] if is_conv else []))))
        features = spec.head_channels
    found.append(Layer("classifier", *ends["classifier"], (num_classes, features)))
    return folded, found


def num_classes(model: Published, state: StateDict) -> int | None:
    """The classes of the classifier in a state dict of the layout that `model` has; None without one."""
    weight = state.get(f"{_ends(model)['classifier'][0]}.weight")
    return None if weight is None else len(weight)


def without_head(model: Published, state: StateDict) -> StateDict:
    """The tensors but those of the dense layer in front of a classifier, which a network without one does not need."""
    if model.family.options.get("head_channels") is None:
        return state
    prefix = f"{_ends(model)['head'][0]}."
    return {key: array for key, array in state.items() if not key.startswith(prefix)}


def _ends(model: Published) -> Modules:
    return LAYOUTS[model.layout].ends(model.spec(), len(model.family.depths))


def _places(model: Published) -> Iterator[Place]:
    position = itertools.count()
    for stage, depth in enumerate(model.family.depths):
        for index in range(depth):
            yield Place(stage, index, next(position))


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
    arrays = {}
    for layer in found:
        for name, key, _ in layer.tensors():
            tensor = state[key][..., 0, 0] if name == "head/kernel" and state[key].ndim == 4 else state[key]
            arrays[name] = to_keras(name, tensor).astype(np.float32)
    return arrays
