"""Settings: frozen dataclasses whose fields state their bounds; Python and YAML are validated by the same rule.

A field's annotation says what it takes, such as `epochs: Count` or `dropout: Share | None`; what concerns several fields is
checked in `__post_init__`. Every mistake is explained from the annotation as "section.key: expected ..., got ...". pydantic
does the checking and is imported with the first settings that are made.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

from annotated_types import Ge, Gt, Le, Lt, MinLen

from scarlet_tf.base.errors import InputError, nearest

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
_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string", types.NoneType: "null"}


class Lax:
    """Mark of a field that also takes a list for a tuple, or a mapping for settings, from Python; YAML always may."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        schema = handler.resolve_ref_schema(handler(source))
        return {**{key: value for key, value in schema.items() if key != "ref"}, "strict": False}


def validated(section: str) -> Callable[[type[Settings]], type[Settings]]:
    """Class decorator of settings: a frozen dataclass whose constructor validates; messages begin with `section`."""

    def decorate(cls: type[Settings]) -> type[Settings]:
        generated: Any = cls.__init__
        names = [field.name for field in dataclasses.fields(cls)]

        @functools.wraps(generated)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            import pydantic
            import pydantic_core

            if len(args) > len(names) or set(names[: len(args)]) & set(kwargs):
                generated(self, *args, **kwargs)  # raises the usual TypeError
            raw = dict(zip(names, args, strict=False)) | kwargs
            try:
                adapter(cls).validator.validate_python(pydantic_core.ArgsKwargs((), raw), self_instance=self)
            except pydantic.ValidationError as error:
                raise InputError("; ".join(_explained(section, cls, raw, error, keys_of(cls, section)))) from None

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
        return adapter(cls).validate_json(document, strict=True)
    except pydantic.ValidationError as error:
        repaired = _numbers_in_place(raw, error)
        if repaired is not None:
            return from_yaml(cls, repaired, mistakes, name, known)
        mistakes += _explained(name, cls, raw, error, keys_of(cls, name) if known is None else known)
    return None


def to_plain(settings: DataclassInstance) -> dict[str, Any]:
    """The settings as plain JSON types."""
    return adapter(type(settings)).dump_python(settings, mode="json")


@functools.cache
def adapter(cls: type) -> pydantic.TypeAdapter:
    """The validator, reader and writer of a class of settings."""
    import pydantic

    return pydantic.TypeAdapter(cls)


def keys_of(cls: type[DataclassInstance], prefix: str) -> Iterator[str]:
    """The dotted keys of a class of settings, and of those nested in it, with `prefix` in front."""
    for field in dataclasses.fields(cls):
        yield f"{prefix}.{field.name}".lstrip(".")
        for option in options(hints(cls)[field.name]):
            if dataclasses.is_dataclass(option):
                yield from keys_of(typing.cast("type[DataclassInstance]", option), f"{prefix}.{field.name}")


def quantity(key: str, text: str) -> float:
    """A number > 0, also with a unit as in "60M"; InputError that begins with `key`."""
    try:
        number = _number(text) or float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise InputError(f"{key}: expected a number > 0, such as 60M, got {text!r}")
    return number


def show(value: Any) -> str:
    """A value as the user may have written it in YAML, cut to a line."""
    text = repr(value) if isinstance(value, float) else json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def did_you_mean(dotted: str, known: Iterable[str]) -> str:
    """A hint at the nearest key: of the same section first, then the same word in another section."""
    known = list(known)
    head, _, word = dotted.rpartition(".")
    siblings = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == head}
    near = difflib.get_close_matches(word, siblings, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {siblings[near[0]]}?"
    elsewhere = [key for key in known if key.rpartition(".")[2] == word]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    return f"; expected one of {', '.join(sorted(siblings))}" if siblings else ""


def describe(hint: Any, marks: Sequence = ()) -> str:
    """The values that an annotation allows, such as "an integer >= 1 or null"."""
    if typing.get_origin(hint) is Annotated:
        return describe(typing.get_args(hint)[0], [*typing.get_args(hint)[1:], *marks])
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    if len(options(hint)) > 1:
        branches = list(dict.fromkeys(describe(option) for option in options(hint)))
        return " or ".join([", ".join(branches[:-1]), branches[-1]]) if len(branches) > 1 else branches[0]
    least = next((mark.min_length for mark in marks if isinstance(mark, MinLen)), 0)
    if typing.get_origin(hint) is tuple:
        members = typing.get_args(hint)
        exactly = f" of {len(members)}" if Ellipsis not in members else ""
        return f"a list of at least {least}" if least else f"a list{exactly}"
    if typing.get_origin(hint) is dict or dataclasses.is_dataclass(hint):
        return "a mapping"
    if hint is str and least:
        return "a non-empty string"
    return _WORDS[hint] + _bounds(marks)


def _bounds(marks: Sequence) -> str:
    found: dict[type, Any] = {type(mark): mark for mark in marks}
    ge, gt, le, lt = (found.get(kind) for kind in (Ge, Gt, Le, Lt))
    most = f"up to {le.le}" if le else f"below {lt.lt}" if lt else ""
    if ge:
        return f" from {ge.ge} to {most.removeprefix('up to ')}" if most else f" >= {ge.ge}"
    if gt:
        return f" above {gt.gt} and {most}" if most else f" > {gt.gt}"
    return f" {most}" if most else ""


def _section(cls: type) -> str:
    return typing.cast("Any", cls).section


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """The annotations of a class' fields, with their bounds."""
    return typing.get_type_hints(cls, include_extras=True)


def options(hint: Any) -> tuple:
    """The branches of a union, settings among them without their marks; a type that is none is its own only branch."""
    if typing.get_origin(hint) is Annotated:
        return options(typing.get_args(hint)[0])
    if typing.get_origin(hint) not in (types.UnionType, Union):
        return (hint,)
    return tuple(_bare(one) if dataclasses.is_dataclass(_bare(one)) else one for one in typing.get_args(hint))


def _bare(hint: Any) -> Any:
    """A type without its marks."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _hint_at(hint: Any, path: Sequence) -> Any:
    """The annotation of the value at `path` inside a value of type `hint`."""
    for key in path:
        for branch in options(hint):
            option = _bare(branch)
            if dataclasses.is_dataclass(option) and key in hints(typing.cast("type", option)):
                hint = hints(typing.cast("type", option))[key]
                break
            if typing.get_origin(option) in (dict, tuple):
                hint = typing.get_args(option)[-1 if typing.get_origin(option) is dict else 0]
                break
    return hint


def _explained(name: str, cls: type, raw: Any, error: pydantic.ValidationError, known: Iterable[str]) -> Iterable[str]:
    """The mistakes in the user's words, without those of a union's other branches."""
    errors = error.errors()
    paths = [_place(raw, one) for one in errors]
    around = {path[:length] for path in paths for length in range(len(path))}
    known = list(known)
    innermost = [one for one, path in zip(errors, paths, strict=True) if path not in around]
    return dict.fromkeys(_explain(name, cls, raw, one, known) for one in innermost)


def _explain(name: str, cls: type, raw: Any, error: Mapping, known: Sequence[str]) -> str:
    """One error of pydantic as "section.key: expected ..., got ..."."""
    kind, path = error["type"], _place(raw, error)
    place = _dotted(name, path)
    if kind == "value_error":  # of a `__post_init__`
        message = str(error["ctx"]["error"])
        return message if message.startswith(f"{name}.") else f"{name}: {message}"
    if kind == "unexpected_keyword_argument":
        return f"{place}: unknown key{did_you_mean(place, known)}"
    if kind == "missing" and isinstance(error["loc"][-1], str):
        return f"{place}: missing"
    hint = _hint_at(cls, path)
    value = functools.reduce(lambda inner, key: inner[key], path, raw)
    names = [option for option in options(hint) if typing.get_origin(option) is Literal]
    hint_at = nearest(value, typing.get_args(names[0])) if names and isinstance(value, str) else ""
    return f"{place}: expected {describe(hint)}, got {show(value)}{hint_at}"


def _place(raw: Any, error: Mapping) -> tuple:
    """The path of what an error of pydantic is about; it also names a key that is missing."""
    loc = error["loc"]
    is_missing_key = error["type"] == "missing" and isinstance(loc[-1], str)
    return (*_path(raw, loc[:-1]), loc[-1]) if is_missing_key else _path(raw, loc)


def _path(raw: Any, loc: Sequence) -> tuple:
    """The parts of pydantic's location that exist in the data; others name branches of unions."""
    path = []
    for key in loc:
        in_list = isinstance(raw, (list, tuple)) and isinstance(key, int) and key < len(raw)
        if in_list or (isinstance(raw, Mapping) and key in raw):
            path.append(key)
            raw = raw[key]
    return tuple(path)


def _dotted(name: str, path: Sequence) -> str:
    return (name + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)).lstrip(".")


def _numbers_in_place(raw: Any, error: pydantic.ValidationError) -> Any:
    """`raw` with quantities such as "60M", and whole numbers such as 1e6, where a number is expected; None without any."""
    repaired, found = json.loads(json.dumps(raw)), False
    for one in error.errors():
        path = _path(raw, one["loc"])
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
