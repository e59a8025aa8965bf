"""Checks that the stages' configurations share: ranges of numbers, and dataclasses from mappings."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping

from scarlet_tf.errors import InputError

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = typing.TypeVar("Settings", bound="DataclassInstance")

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


def check_switches(section: str, config, *fields: str) -> None:
    """InputError names the first of the fields that is neither true nor false."""
    for field in fields:
        if not isinstance(getattr(config, field), bool):
            raise InputError(f"{section}.{field}: expected true or false, got {getattr(config, field)!r}")


def from_mapping(cls: type[Settings], config: Settings | Mapping | None) -> Settings:
    """`config` as an instance of the dataclass `cls`: itself, a mapping of its fields, or None for the defaults."""
    if isinstance(config, cls):
        return config
    fields = {field.name for field in dataclasses.fields(cls)}
    if config is None:
        return cls()
    if not isinstance(config, Mapping):
        raise InputError(f"config: expected a {cls.__name__} or a mapping, got {type(config).__name__}")
    for key in config:
        if key not in fields:
            raise InputError(f"{cls.__name__}.{key}: unknown key; expected one of {sorted(fields)}")
    return cls(**config)
