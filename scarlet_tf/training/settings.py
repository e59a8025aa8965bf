"""Checks that the stages' configurations share: ranges of numbers and names."""

from __future__ import annotations

import math
import typing

from scarlet_tf.errors import InputError

_RULES = {
    "at_least_1": ("a whole number >= 1", lambda v: isinstance(v, int) and v >= 1),
    "at_least_0": ("a number >= 0", lambda v: v >= 0),
    "whole": ("a whole number >= 0", lambda v: isinstance(v, int) and v >= 0),
    "positive": ("a number > 0", lambda v: v > 0),
    "share": ("a number from 0 to 1", lambda v: 0 <= v <= 1),
    "below_1": ("a number from 0 to below 1", lambda v: 0 <= v < 1),
}


def check_ranges(section: str, config, **rules: tuple[str, ...]) -> None:
    """`rules` maps a rule's name to the fields it holds for; InputError names the first field that breaks one."""
    for rule, fields in rules.items():
        expected, holds = _RULES[rule]
        for field in fields:
            value = getattr(config, field)
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not holds(value):
                raise InputError(f"{section}.{field}: expected {expected}, got {value!r}")


def check_names(section: str, config) -> None:
    """InputError names the first field annotated as a Literal that holds none of its values."""
    for field, hint in typing.get_type_hints(type(config)).items():
        value, allowed = getattr(config, field), typing.get_args(hint)
        if typing.get_origin(hint) is typing.Literal and value not in allowed:
            raise InputError(f"{section}.{field}: expected one of {allowed}, got {value!r}")
