"""Settings: frozen dataclasses whose fields state their bounds; Python and YAML are validated by the same rule.

A field's annotation says what it takes, such as `epochs: Count` or `dropout: Share | None`; what concerns several fields is
checked in `__post_init__`. Every mistake is explained from the annotation as "section.key: expected ..., got ...". pydantic
does the checking and is imported with the first settings that are made.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MinLen

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.mistakes import existing_path, explained, keys_of

if TYPE_CHECKING:
    import pydantic
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
AboveZero = Annotated[float, Gt(0), Le(1)]
Between = Annotated[float, Gt(0), Lt(1)]
Text = Annotated[str, MinLen(1)]

_STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}


class Lax:
    """Mark of a field that also takes a list for a tuple, or a mapping for settings, from Python; YAML always may."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        schema = handler.resolve_ref_schema(handler(source))
        return {**{key: value for key, value in schema.items() if key != "ref"}, "strict": False}


class AsGiven:
    """Mark of a number that stays an integer where one is given, as in files and fingerprints that hold it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def check(value: Any, checked: Any) -> Any:
            number = checked(value)
            return value if isinstance(value, int) else number

        return core_schema.no_info_wrap_validator_function(check, handler(source))


class Read(Lax):
    """Mark of a value with another written form, which `function` turns into the usual one; `also`: that form's type.

    Whatever else comes, the function returns as it is. A list inside the value needs a Lax of its own.
    """

    def __init__(self, function: Callable[[Any], Any], also: Any = None):
        self.function, self.also = function, also

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        schema = super().__get_pydantic_core_schema__(source, handler)
        return core_schema.no_info_before_validator_function(self.function, schema)


def validated(section: str) -> Callable[[type[Settings]], type[Settings]]:
    """Class decorator of settings: a frozen dataclass whose constructor validates; messages begin with `section`.

    Defaults are taken as valid, so that settings which consist of nothing else need no pydantic.
    """

    def decorate(cls: type[Settings]) -> type[Settings]:
        generated: Any = cls.__init__
        names = [field.name for field in dataclasses.fields(cls)]
        missing = dataclasses.MISSING
        has_defaults = all((one.default, one.default_factory) != (missing, missing) for one in dataclasses.fields(cls))

        @functools.wraps(generated)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            if has_defaults and not args and not kwargs:
                return generated(self)
            import pydantic
            import pydantic_core

            if len(args) > len(names) or set(names[: len(args)]) & set(kwargs):
                generated(self, *args, **kwargs)  # raises the usual TypeError
            raw = dict(zip(names, args, strict=False)) | kwargs
            try:
                adapter(cls).validator.validate_python(pydantic_core.ArgsKwargs((), raw), self_instance=self)
            except pydantic.ValidationError as error:
                raise InputError("; ".join(explained(section, cls, raw, error, keys_of(cls, section)))) from None

        for name, value in {"__init__": __init__, "section": section, "__pydantic_config__": _STRICT}.items():
            setattr(cls, name, value)
        return cls

    return decorate


def as_settings(cls: type[Settings], value: Settings | Mapping | None) -> Settings:
    """`value` as an instance of the settings `cls`: itself, a mapping of its fields, or None for the defaults."""
    if isinstance(value, cls):
        return value
    if value is None:
        return cls()
    if not isinstance(value, Mapping):
        raise InputError(f"{_section(cls)}: expected a {cls.__name__} or a mapping, got {type(value).__name__}")
    return cls(**{str(key): one for key, one in value.items()})


def from_yaml(
    cls: type[Settings], raw: Any, mistakes: list[str], name: str | None = None, known: Iterable[str] | None = None
) -> Settings | None:
    """Settings from plain YAML values, or None after all mistakes have been added to the list, with their dotted keys.

    name: the section's, by default the class'; known: dotted keys that may be meant by an unknown one, by default the
    section's own. Quantities may be written as "60M" and whole numbers as 1e6.
    """
    import pydantic

    name = _section(cls) if name is None else name
    try:
        document = json.dumps(raw)
    except (TypeError, ValueError) as error:
        mistakes.append(f"{name}: expected plain YAML values: {error}")
        return None
    try:
        return adapter(cls).validate_json(document)
    except pydantic.ValidationError as error:
        repaired = _numbers_in_place(raw, error)
        if repaired is not None:
            return from_yaml(cls, repaired, mistakes, name, known)
        mistakes += explained(name, cls, raw, error, keys_of(cls, name) if known is None else known)
    return None


def from_plain(cls: type[Settings], raw: Any) -> Settings:
    """Settings from plain values as `from_yaml` reads them; one InputError names all mistakes."""
    mistakes: list[str] = []
    settings = from_yaml(cls, raw, mistakes)
    if settings is None:
        raise InputError("; ".join(mistakes))
    return settings


def to_plain(settings: DataclassInstance) -> dict[str, Any]:
    """The settings as plain JSON types."""
    return adapter(type(settings)).dump_python(settings, mode="json")


@functools.cache
def adapter(cls: type) -> pydantic.TypeAdapter:
    """The validator, reader and writer of a class of settings."""
    import pydantic

    return pydantic.TypeAdapter(cls)


def quantity(key: str, text: str) -> float:
    """A number > 0, also with a unit as in "60M"; InputError that begins with `key`."""
    try:
        number = _number(text) or float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise InputError(f"{key}: expected a number > 0, such as 60M, got {text!r}")
    return number


def _section(cls: type) -> str:
    return typing.cast("Any", cls).section


def _numbers_in_place(raw: Any, error: pydantic.ValidationError) -> Any:
    """`raw` with quantities such as "60M", and whole numbers such as 1e6, where a number is expected; None without any."""
    repaired, found = json.loads(json.dumps(raw)), False
    for one in error.errors():
        path = existing_path(raw, one["loc"])
        if not path or one["type"] not in ("int_type", "int_from_float", "float_type"):
            continue
        place = functools.reduce(lambda inner, key: inner[key], path[:-1], repaired)
        number = _number(place[path[-1]])
        if number is not None:
            place[path[-1]] = number
            found = True
    return repaired if found else None


def _number(value: Any) -> int | float | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG])", value) if isinstance(value, str) else None
    if not match:
        return None
    number = float(match[1]) * _UNITS[match[2]]
    return int(number) if number.is_integer() else number
