"""BlockString: one block string in the notation of the timm library, such as "ir_r2_k3_s2_e6_c24_se0.25_nre".

The notation comes from MnasNet's and EfficientNet's code. A string is a block type and fields, joined by "_". Here are
the types and fields that a NetworkSpec can express; everything else raises an error that says so.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.spec import Activation

ACTIVATIONS: dict[str, Activation] = {"re": "relu", "r6": "relu6", "hs": "hard_swish", "sw": "silu"}
_TYPES = "expected ir, ds, skip, or, as the last string, cn_r1_k1_s1_c..."
_NOT_EXPRESSED = {
    "er": "fused expansion and depthwise convolution",
    "dsa": "an activation after the projection",
    "uir": "universal inverted bottleneck; one that has only the convolution in the middle is an ir",
    "tu": "Tucker convolutions",
    "mha": "attention",
    "mqa": "attention",
}
# For each type: the required fields and the optional ones.
_FIELDS = {"ir": ("rksec", ("se", "n", "a", "p")), "ds": ("rksc", ("e", "se", "n", "p")), "cn": ("rksc", ("n",))}
# Fields that change nothing at this value; other values cannot be expressed.
_FIXED = {"a": "kernel of the expansion", "p": "kernel of the projection"}
_MEANINGS = {
    "cc": "conditional convolutions",
    "d": "space to depth",
    "fc": "a forced width of the input",
    "gs": "grouped convolutions",
}


@dataclasses.dataclass(frozen=True)
class BlockString:
    """One parsed block string. `kind`: "ir" (inverted residual), "ds" (depthwise separable), "cn" (convolution), "skip".

    `repeats` blocks, of which the first has `stride` and the others 1; `expansion` of the width, 1 for "ds"; `se_ratio`
    0 for no squeeze-and-excitation; `activation` None for the network's; `shortcut`: where stride and widths allow one.
    """

    text: str
    kind: str
    repeats: int = 1
    kernel_size: int = 0
    stride: int = 1
    channels: int = 0
    expansion: float = 1.0
    se_ratio: float = 0.0
    activation: Activation | None = None
    shortcut: bool = True

    @classmethod
    def parse(cls, text: str) -> BlockString:
        """Parse one block string; InputError names string and field."""
        if not isinstance(text, str):
            raise InputError(f"blocks: expected block strings such as 'ir_r2_k3_s2_e6_c24', got {text!r}")
        kind, *parts = text.strip().split("_")
        if kind == "skip" and not parts:
            return cls(text, kind)
        if kind not in _FIELDS:
            reason = f" ({_NOT_EXPRESSED[kind]}) cannot be expressed" if kind in _NOT_EXPRESSED else " is unknown"
            raise InputError(f"{text}: block type {kind!r}{reason}; {_TYPES}")
        shortcut = _shortcut(text, kind, parts)
        fields = _fields(text, kind, parts)
        for name in _FIXED.keys() & fields.keys():
            _only(text, name, fields[name], "1", _FIXED[name])
        if kind == "ds":
            _only(text, "e", fields.get("e", "1"), "1", "a ds block has no expansion")
        return cls(
            text,
            kind,
            repeats=_whole(text, "r", fields),
            kernel_size=_kernel(text, fields),
            stride=_stride(text, fields),
            channels=_whole(text, "c", fields),
            expansion=_number(text, "e", fields.get("e", "1")),
            se_ratio=_number(text, "se", fields.get("se", "0"), zero=True),
            activation=_activation(text, fields["n"]) if "n" in fields else None,
            shortcut=shortcut,
        )


def parse_stages(stages: Iterable) -> list[BlockString]:
    """All strings of a network. An entry of `stages` is a string, or a list of the strings of one stage.

    Only the first string of a stage may have a stride of 2: timm runs the others with 1, whatever they state.
    """
    if isinstance(stages, str) or not isinstance(stages, Iterable):
        raise InputError(f"blocks: expected a list of block strings, got {stages!r}")
    found = []
    for stage in stages:
        strings = [BlockString.parse(text) for text in ([stage] if isinstance(stage, str) else _listed(stage))]
        for later in strings[1:]:
            if later.stride != 1:
                raise InputError(f"{later.text}: s: expected 1 after the first string of a stage, got {later.stride}")
        found += strings
    if not found:
        raise InputError("blocks: expected at least one block string, got none")
    return found


def _listed(stage) -> list:
    if not isinstance(stage, (list, tuple)):
        raise InputError(f"blocks: expected block strings such as 'ir_r2_k3_s2_e6_c24' or lists of them, got {stage!r}")
    return list(stage)


def _shortcut(text: str, kind: str, parts: list[str]) -> bool:
    """Remove "skip" and "noskip" from `parts`."""
    given = [part for part in parts if part in ("skip", "noskip")]
    for part in given:
        parts.remove(part)
    if len(given) > 1:
        raise InputError(f"{text}: expected skip or noskip once, got {' and '.join(given)}")
    if kind == "cn" and "skip" in given:
        raise InputError(f"{text}: skip: a convolution with a shortcut cannot be expressed")
    return "noskip" not in given


def _fields(text: str, kind: str, parts: list[str]) -> dict[str, str]:
    required, optional = _FIELDS[kind]
    fields: dict[str, str] = {}
    for part in parts:
        match = re.fullmatch(r"(n)(re|r6|hs|sw|mi)|([a-z]+)(\d.*)", part)
        if match is None:
            raise InputError(f"{text}: {part}: expected a field such as k3, se0.25, nre or noskip")
        name, value = [group for group in match.groups() if group is not None]
        if name not in (*required, *optional):
            meaning = f" ({_MEANINGS[name]}) cannot be expressed" if name in _MEANINGS else " is unknown"
            raise InputError(f"{text}: field {name!r}{meaning}; expected {', '.join((*required, *optional))}")
        if name in fields:
            raise InputError(f"{text}: {name}: expected it once, got {fields[name]} and {value}")
        fields[name] = value
    missing = [name for name in required if name not in fields]
    if missing:
        raise InputError(f"{text}: expected the fields {', '.join(required)}, got no {' and no '.join(missing)}")
    return fields


def _only(text: str, name: str, value: str, expected: str, reason: str) -> None:
    if value not in (expected, f"{expected}.0"):
        raise InputError(
            f"{text}: {name}: expected {expected}, the only one that can be expressed ({reason}), got {value}"
        )


def _whole(text: str, name: str, fields: dict[str, str]) -> int:
    if not fields[name].isdecimal() or int(fields[name]) < 1:
        raise InputError(f"{text}: {name}: expected a whole number >= 1, got {fields[name]}")
    return int(fields[name])


def _kernel(text: str, fields: dict[str, str]) -> int:
    if not fields["k"].isdecimal() or int(fields["k"]) % 2 == 0:
        raise InputError(f"{text}: k: expected one odd number (mixed kernels cannot be expressed), got {fields['k']}")
    return int(fields["k"])


def _stride(text: str, fields: dict[str, str]) -> int:
    if fields["s"] not in ("1", "2"):
        raise InputError(f"{text}: s: expected 1 or 2, got {fields['s']}")
    return int(fields["s"])


def _number(text: str, name: str, value: str, zero: bool = False) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (0 < number < math.inf or (zero and number == 0)):
        raise InputError(f"{text}: {name}: expected a number {'>=' if zero else '>'} 0, got {value}")
    return number


def _activation(text: str, name: str) -> Activation:
    if name not in ACTIVATIONS:
        raise InputError(f"{text}: n: expected {', '.join(ACTIVATIONS)}; {name} cannot be expressed")
    return ACTIVATIONS[name]
