"""Networks of Once-for-All and ProxylessNAS: the JSON form of a whole network, and paths through published supernets.

Two forms: a `net.config`, the JSON form of a whole network layer by layer, or a path through one of OFA's supernets,
{"ks": [...], "e": [...], "d": [...]}. Their layers have k // 2 zeros on every side. A supernet has five stages of up to four
blocks (ProxylessNAS' a sixth of one). `d` is the number of blocks of each stage; `ks` and `e` have a kernel and an expansion
for every possible block, stage by stage.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.choices import rounded_channels
from scarlet_tf.space.spec import Activation, InvertedResidualSpec, NetworkSpec

ACTIVATIONS: dict[str, Activation] = {"relu": "relu", "relu6": "relu6", "h_swish": "hard_swish"}
_INPUT_SIZE = 224
_NAMES = ("MobileNetV3", "ProxylessNASNets")
_KEYS = {"name", "bn", "first_conv", "blocks", "final_expand_layer", "feature_mix_layer", "classifier", "resolution"}
# Required values of these keys in convolutions and dense layers, if present: nothing else can be expressed.
_CONV: dict[str, Any] = {
    "dilation": 1,
    "groups": 1,
    "has_shuffle": False,
    "use_se": False,
    "dropout_rate": 0,
    "ops_order": "weight_bn_act",
}
_CONV_BN: dict[str, Any] = {**_CONV, "bias": False, "use_bn": True}
_CLASSIFIER: dict[str, Any] = {"bias": True, "use_bn": False, "act_func": None, "ops_order": "weight_bn_act"}
_IDENTITY = {"use_bn": False, "act_func": None, "dropout_rate": 0}


def network_from_ofa(
    config: Mapping,
    *,
    supernet: str | None = None,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
) -> NetworkSpec:
    """A NetworkSpec from a published configuration.

    Args:
        config: a network in its JSON form (`MobileNetV3` or `ProxylessNASNets`), or a path {"ks", "e", "d"} with "r", the
            size of the image, where it is given; numbers stand for all layers.
        supernet: of a path: "ofa_mbv3_d234_e346_k357_w1.0" or "..._w1.2", or "ofa_proxyless_d234_e346_k357_w1.3"; the key
            "supernet" of `config` serves as well.
        input_shape: (height, width, channels); None takes the configuration's, else 224 pixels.
        num_classes: None takes the configuration's, else 1000.

    InputError names the key that is wrong or cannot be expressed.
    """
    if not isinstance(config, Mapping):
        raise InputError(f"config: expected a mapping, got {type(config).__name__}")
    if "blocks" not in config:
        config = supernet_path(config, supernet)
    elif supernet is not None:
        raise InputError(f"supernet: expected none for a whole network, got {supernet!r}")
    spec = _network(config)
    changes = {"input_shape": input_shape and tuple(input_shape), "num_classes": num_classes}
    return spec.replace(**{key: value for key, value in changes.items() if value is not None})


def _network(config: Mapping) -> NetworkSpec:
    name = config.get("name")
    if name not in _NAMES:
        raise InputError(f"name: expected one of {', '.join(_NAMES)}, got {name!r}")
    unknown = sorted(config.keys() - _KEYS)
    if unknown:
        raise InputError(f"{unknown[0]}: unknown key; expected {', '.join(sorted(_KEYS))}")
    first = _layer(config, "first_conv", "ConvLayer", kernel_size=3, in_channels=3, **_CONV_BN)
    stem = _whole(first, "first_conv", "out_channels")
    blocks = tuple(_blocks(config["blocks"], stem))
    tail = _tail(config, name == "MobileNetV3", blocks[-1].out_channels if blocks else stem)
    features = tail.get("head_channels", tail["tail_channels"])
    classifier = _layer(config, "classifier", "LinearLayer", in_features=features, **_CLASSIFIER)
    size = config.get("resolution", _INPUT_SIZE)
    return NetworkSpec(
        input_shape=(size, size, 3),
        num_classes=_whole(classifier, "classifier", "out_features"),
        stem_channels=stem,
        stem_stride=_whole(first, "first_conv", "stride"),
        first_channels=None,
        blocks=blocks,
        dropout=classifier.get("dropout_rate", 0),
        stem_activation=_activation(first, "first_conv"),
        **tail,
    )


def _tail(config: Mapping, has_head: bool, channels: int) -> dict:
    """MobileNetV3 pools between its last two convolutions, ProxylessNAS after its only one."""
    key = "final_expand_layer" if has_head else "feature_mix_layer"
    last = _layer(config, key, "ConvLayer", in_channels=channels, kernel_size=1, stride=1, **_CONV_BN)
    fields = {"tail_channels": _whole(last, key, "out_channels"), "tail_activation": _activation(last, key)}
    if not has_head:
        return fields
    only: dict[str, Any] = {
        "in_channels": fields["tail_channels"],
        "kernel_size": 1,
        "stride": 1,
        **_CONV,
        "use_bn": False,
    }
    head = _layer(config, "feature_mix_layer", "ConvLayer", **only)
    if _activation(head, "feature_mix_layer") != fields["tail_activation"]:
        raise InputError(
            f"feature_mix_layer.act_func: expected {last['act_func']!r} as in final_expand_layer, the only one that can be"
            f" expressed, got {head['act_func']!r}"
        )
    bias = bool(head.get("bias", False))
    return {**fields, "head_channels": _whole(head, "feature_mix_layer", "out_channels"), "head_bias": bias}


def _blocks(blocks: Sequence, channels: int) -> Iterator[InvertedResidualSpec]:
    if not isinstance(blocks, Sequence) or isinstance(blocks, str):
        raise InputError(f"blocks: expected a list, got {blocks!r}")
    index = 0
    for place, block in enumerate(blocks):
        where = f"blocks[{place}]"
        if not isinstance(block, Mapping):
            raise InputError(f"{where}: expected a mapping, got {block!r}")
        key = "conv" if "conv" in block else "mobile_inverted_conv"
        has_shortcut = _has_shortcut(block, where)
        if not isinstance(block.get(key), Mapping):
            raise InputError(f"{where}.{key}: expected a layer, got {block.get(key)!r}")
        if block[key].get("name") == "ZeroLayer" and has_shortcut:
            continue  # the shortcut alone: nothing
        spec = _block(f"block_{index:02d}", block[key], f"{where}.{key}", channels)
        yield dataclasses.replace(spec, residual=has_shortcut)
        channels, index = spec.out_channels, index + 1


def _has_shortcut(block: Mapping, where: str) -> bool:
    shortcut = block.get("shortcut")
    if shortcut is None or (isinstance(shortcut, Mapping) and shortcut.get("name") == "ZeroLayer"):
        return False
    _layer(block, "shortcut", "IdentityLayer", where, **_IDENTITY)
    return True


def _block(name: str, layer: Mapping, where: str, channels: int) -> InvertedResidualSpec:
    if layer.get("name") not in ("MBConvLayer", "MBInvertedConvLayer"):
        raise InputError(f"{where}.name: expected MBConvLayer or MBInvertedConvLayer, got {layer.get('name')!r}")
    _only(layer, where, in_channels=channels, groups=None)
    expand = layer.get("expand_ratio", 6) != 1
    hidden = _hidden_channels(layer, where, channels)
    return InvertedResidualSpec(
        name=name,
        in_channels=channels,
        hidden_channels=hidden,
        out_channels=_whole(layer, where, "out_channels"),
        kernel_size=_whole(layer, where, "kernel_size"),
        stride=_whole(layer, where, "stride"),
        se_channels=rounded_channels(hidden // 4) if layer.get("use_se") else 0,
        activation=_activation({"act_func": "relu6", **layer}, where),
        expand=expand,
    )


def _hidden_channels(layer: Mapping, where: str, channels: int) -> int:
    """`mid_channels` if given, else the input's channels times `expand_ratio`."""
    if layer.get("mid_channels") is not None:
        return _whole(layer, where, "mid_channels")
    ratio = layer.get("expand_ratio", 6)
    if not isinstance(ratio, (int, float)) or isinstance(ratio, bool) or not ratio > 0:
        raise InputError(f"{where}.expand_ratio: expected a number > 0, got {ratio!r}")
    return round(channels * ratio)


def _layer(config: Mapping, key: str, name: str, inside: str = "", **only) -> Mapping:
    """The layer under `key`, which must be a `name`; of the keys in `only`, those present must have these values."""
    where, layer = f"{inside}.{key}" if inside else key, config.get(key)
    if not isinstance(layer, Mapping) or layer.get("name") != name:
        got = layer.get("name") if isinstance(layer, Mapping) else layer
        raise InputError(f"{where}: expected {name}, which is all that can be expressed there, got {got!r}")
    _only(layer, where, **only)
    return layer


def _only(layer: Mapping, where: str, **only) -> None:
    for key, value in only.items():
        if layer.get(key, value) != value:
            raise InputError(
                f"{where}.{key}: expected {value!r}, the only one that can be expressed, got {layer[key]!r}"
            )


def _whole(layer: Mapping, where: str, key: str) -> int:
    value = layer.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{where}.{key}: expected an integer >= 1, got {value!r}")
    return value


def _activation(layer: Mapping, where: str) -> Activation:
    if layer.get("act_func") not in ACTIVATIONS:
        expected = ", ".join(ACTIVATIONS)
        raise InputError(f"{where}.act_func: expected one of {expected}, got {layer.get('act_func')!r}")
    return ACTIVATIONS[layer["act_func"]]


KERNELS, EXPANSIONS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
_DEPTH = max(DEPTHS)
_PATH_KEYS = ("supernet", "name", "wid", "ks", "e", "d", "r")


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
    unknown = sorted(set(path) - set(_PATH_KEYS))
    if unknown:
        raise InputError(f"{unknown[0]}: unknown key; expected {', '.join(_PATH_KEYS)}")
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
    return _whole_network(
        family, float(multiplier), kernels, expansions, _depths(path, len(family.stages), last)
    ) | _size(path)


def _whole_network(family: _Family, multiplier: float, kernels: list, expansions: list, depths: list) -> dict:
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
