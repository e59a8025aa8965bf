"""supernet_path: a path through one of Once-for-All's published supernets in the JSON form of a whole network.

A supernet has five stages of up to four blocks (ProxylessNAS' a sixth of one). `d` is the number of blocks of each
stage; `ks` and `e` have a kernel and an expansion for every possible block, stage by stage.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from scarlet_tf.errors import InputError
from scarlet_tf.space import rounded_channels

KERNELS, EXPANSIONS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
_DEPTH = max(DEPTHS)
_KEYS = ("supernet", "name", "wid", "ks", "e", "d", "r")


@dataclasses.dataclass(frozen=True)
class _Family:
    """Common properties of a supernet's paths; widths are those at a multiplier of 1.

    `stages`: width, stride, activation and whether there is squeeze-and-excitation.
    """

    name: str
    stem: int
    first: int
    first_activation: str
    first_shortcut: bool
    stages: tuple[tuple[int, int, str, bool], ...]
    last_stage: tuple[int, int, str, bool] | None
    tail: tuple[int, ...]
    activation: str


_FAMILIES = {
    "mbv3": _Family(
        "MobileNetV3",
        stem=16,
        first=16,
        first_activation="relu",
        first_shortcut=True,
        stages=(
            (24, 2, "relu", False),
            (40, 2, "relu", True),
            (80, 2, "h_swish", False),
            (112, 1, "h_swish", True),
            (160, 2, "h_swish", True),
        ),
        last_stage=None,
        tail=(960, 1280),
        activation="h_swish",
    ),
    "proxyless": _Family(
        "ProxylessNASNets",
        stem=32,
        first=16,
        first_activation="relu6",
        first_shortcut=False,
        stages=(
            (24, 2, "relu6", False),
            (40, 2, "relu6", False),
            (80, 2, "relu6", False),
            (96, 1, "relu6", False),
            (192, 2, "relu6", False),
        ),
        last_stage=(320, 1, "relu6", False),
        tail=(1280,),
        activation="relu6",
    ),
}
_SUPERNETS = (
    "ofa_mbv3_d234_e346_k357_w1.0",
    "ofa_mbv3_d234_e346_k357_w1.2",
    "ofa_proxyless_d234_e346_k357_w1.3",
)


def supernet_path(path: Mapping, supernet: str | None = None) -> dict:
    """The whole network, from {"ks", "e", "d"} and the supernet's name; InputError if it is not in that supernet."""
    unknown = sorted(set(path) - set(_KEYS))
    if unknown:
        raise InputError(f"{unknown[0]}: unknown key; expected {', '.join(_KEYS)}")
    supernet = path.get("supernet") if supernet is None else supernet
    if supernet not in _SUPERNETS:
        raise InputError(f"supernet: expected one of {', '.join(_SUPERNETS)}, got {supernet!r}")
    if path.get("wid") is not None:
        raise InputError(f"wid: expected none, for these supernets have one width, got {path['wid']!r}")
    parts = re.fullmatch(r"ofa_(\w+?)_.*_w([\d.]+)", supernet)
    assert parts is not None  # all of _SUPERNETS have such names
    family_name, multiplier = parts.groups()
    family = _FAMILIES[family_name]
    last = 0 if family.last_stage is None else 1
    slots = len(family.stages) * _DEPTH + last
    kernels = _values(path, "ks", slots, KERNELS)
    expansions = _values(path, "e", slots, EXPANSIONS)
    return _network(family, float(multiplier), kernels, expansions, _depths(path, len(family.stages), last)) | _size(
        path
    )


def _network(family: _Family, multiplier: float, kernels: list, expansions: list, depths: list) -> dict:
    def scaled(width: int) -> int:
        return rounded_channels(width * multiplier)

    stem, channels = scaled(family.stem), scaled(family.first)
    first = _mobile_block(stem, channels, 3, 1, 1, family.first_activation, False)
    blocks = [_residual(first, family.first_shortcut and stem == channels)]
    stages = family.stages if family.last_stage is None else (*family.stages, family.last_stage)
    for stage, ((width, stride, activation, use_se), depth) in enumerate(zip(stages, depths, strict=True)):
        for place in range(depth):
            slot = stage * _DEPTH + place
            block = (kernels[slot], stride if place == 0 else 1, expansions[slot], activation, use_se)
            layer = _mobile_block(channels, scaled(width), *block)
            blocks.append(_residual(layer, layer["stride"] == 1 and channels == layer["out_channels"]))
            channels = layer["out_channels"]
    convs = {"first_conv": _conv(3, stem, 3, 2, family.activation)}
    keys = ("final_expand_layer", "feature_mix_layer") if len(family.tail) == 2 else ("feature_mix_layer",)
    for key, width in zip(keys, map(scaled, family.tail), strict=True):
        convs[key] = _conv(channels, width, 1, 1, family.activation)
        channels = width
    if len(keys) == 2:
        convs["feature_mix_layer"]["use_bn"] = False
    classifier = {"name": "LinearLayer", "in_features": channels, "out_features": 1000}
    return {"name": family.name, "blocks": blocks, **convs, "classifier": classifier}


def _mobile_block(
    in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int, activation: str, use_se: bool
) -> dict:
    return {
        "name": "MBConvLayer",
        "in_channels": in_channels,
        "out_channels": out_channels,
        "kernel_size": kernel,
        "stride": stride,
        "expand_ratio": expansion,
        "mid_channels": None if expansion == 1 else rounded_channels(in_channels * expansion),
        "act_func": activation,
        "use_se": use_se,
    }


def _residual(layer: dict, has_shortcut: bool) -> dict:
    return {"conv": layer, "shortcut": {"name": "IdentityLayer"} if has_shortcut else None}


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int, activation: str) -> dict:
    widths = {"in_channels": in_channels, "out_channels": out_channels}
    return {"name": "ConvLayer", **widths, "kernel_size": kernel, "stride": stride, "act_func": activation}


def _values(path: Mapping, key: str, count: int, allowed: tuple[int, ...]) -> list[int]:
    """A list of `count` numbers; one number stands for all of them."""
    value = path.get(key)
    values = [value] * count if isinstance(value, int) else value
    if not isinstance(values, (list, tuple)) or len(values) != count:
        got = f"{len(values)}" if isinstance(values, (list, tuple)) else repr(value)
        raise InputError(f"{key}: expected {count} numbers, or one for all, got {got}")
    for place, each in enumerate(values):
        if each not in allowed:
            raise InputError(f"{key}[{place}]: expected one of {allowed}, got {each!r}")
    return list(values)


def _depths(path: Mapping, stages: int, last: int) -> list[int]:
    """`d` may name the last stage of one block, or leave it out."""
    depths = path.get("d")
    if last and isinstance(depths, (list, tuple)) and len(depths) == stages + last and depths[-1] == 1:
        path = {"d": depths[:-1]}
    return _values(path, "d", stages, DEPTHS) + [1] * last


def _size(path: Mapping) -> dict:
    size = path.get("r")
    if isinstance(size, (list, tuple)) and len(size) == 1:
        size = size[0]
    if size is not None and (not isinstance(size, int) or size < 1):
        raise InputError(f"r: expected the size of the image in pixels, got {path['r']!r}")
    return {} if size is None else {"resolution": size}
