"""network_from_ofa: networks as ProxylessNAS and Once-for-All (OFA) publish them.

Two forms: a `net.config`, the JSON form of a whole network layer by layer, or a path through one of OFA's supernets,
{"ks": [...], "e": [...], "d": [...]}. Their layers have k // 2 zeros on every side, as ours have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.errors import InputError
from scarlet_tf.foreign.ofa_paths import supernet_path
from scarlet_tf.space import rounded_channels
from scarlet_tf.spec import InvertedResidualSpec, NetworkSpec

ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "h_swish": "hard_swish"}
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


def _activation(layer: Mapping, where: str) -> str:
    if layer.get("act_func") not in ACTIVATIONS:
        expected = ", ".join(ACTIVATIONS)
        raise InputError(f"{where}.act_func: expected one of {expected}, got {layer.get('act_func')!r}")
    return ACTIVATIONS[layer["act_func"]]
