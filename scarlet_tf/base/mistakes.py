"""Mistakes in settings: what an annotation allows, in words, and pydantic's errors as "section.key: expected ..., got ..."."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt, MinLen

from scarlet_tf.base.errors import nearest

if TYPE_CHECKING:
    import pydantic
    from _typeshed import DataclassInstance

_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string", types.NoneType: "null"}


def explained(name: str, cls: type, raw: Any, error: pydantic.ValidationError, known: Iterable[str]) -> Iterable[str]:
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
    if kind == "value_error":  # of a `__post_init__`, whose class names its own section, or of a Read
        message = str(error["ctx"]["error"])
        for owner in map(_bare, options(_hint_at(cls, path))):
            own = re.fullmatch(rf"{re.escape(getattr(owner, 'section', ''))}([.:\[].*)", message, re.DOTALL)
            if own:
                return f"{place}{own[1]}" if place else message
        return message if message.startswith(f"{name}.") else f"{place}: {message}"
    if kind == "unexpected_keyword_argument":
        return f"{place}: unknown key{did_you_mean(place, known)}"
    if kind == "missing" and isinstance(error["loc"][-1], str):
        return f"{place}: missing"
    hint = _hint_at(cls, path)
    value = functools.reduce(lambda inner, key: inner[key], path, raw)
    names = [option for option in options(hint) if typing.get_origin(option) is Literal]
    hint_at = nearest(value, typing.get_args(names[0])) if names and isinstance(value, str) else ""
    return f"{place}: expected {describe(hint)}, got {show(value)}{hint_at}"


def did_you_mean(dotted: str, known: Iterable[str]) -> str:
    """A hint at the nearest key: of the same section first, then the same word in another section."""
    known = list(known)
    head, _, word = dotted.rpartition(".")
    section = re.sub(r"\[\d+\]", "", head)
    siblings = {
        key.rpartition(".")[2]: head + key.removeprefix(section) for key in known if key.rpartition(".")[0] == section
    }
    near = difflib.get_close_matches(word, siblings, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {siblings[near[0]]}?"
    elsewhere = [key for key in known if key.rpartition(".")[2] == word]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    return f"; expected one of {', '.join(sorted(siblings))}" if siblings else ""


def show(value: Any) -> str:
    """A value as the user may have written it in YAML, cut to a line."""
    text = repr(value) if isinstance(value, float) else json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def describe(hint: Any, marks: Sequence = ()) -> str:
    """The values that an annotation allows, such as "an integer >= 1 or null"."""
    if typing.get_origin(hint) is Annotated:
        inner, *own = typing.get_args(hint)
        also = [describe(mark.also) for mark in own if getattr(mark, "also", None)]
        return " or ".join([describe(inner, [*own, *marks]), *also])
    if typing.get_origin(hint) is Literal:
        allowed = typing.get_args(hint)
        return f"{'one of ' if len(allowed) > 1 else ''}{', '.join(map(str, allowed))}"
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


def keys_of(cls: type[DataclassInstance], prefix: str) -> Iterator[str]:
    """The dotted keys of a class of settings, and of those nested in it, also in lists, with `prefix` in front."""
    for field in dataclasses.fields(cls):
        yield f"{prefix}.{field.name}".lstrip(".")
        for option in options(hints(cls)[field.name]):
            inner = member(option) or option
            if dataclasses.is_dataclass(inner):
                yield from keys_of(typing.cast("type[DataclassInstance]", inner), f"{prefix}.{field.name}")


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


def member(hint: Any) -> Any:
    """The class of settings that a list of type `hint` holds; None for any other type."""
    first = _bare(typing.get_args(hint)[0]) if typing.get_origin(hint) is tuple else None
    return first if dataclasses.is_dataclass(first) else None


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


def _place(raw: Any, error: Mapping) -> tuple:
    """The path of what an error of pydantic is about; it also names a key that is missing."""
    loc = error["loc"]
    is_missing_key = error["type"] == "missing" and isinstance(loc[-1], str)
    return (*existing_path(raw, loc[:-1]), loc[-1]) if is_missing_key else existing_path(raw, loc)


def existing_path(raw: Any, loc: Sequence) -> tuple:
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
