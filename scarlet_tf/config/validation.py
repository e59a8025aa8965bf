"""Validation of one section, with its mistakes explained in the user's words.

Values are validated in strict mode as JSON: strings are not read as integers nor numbers as strings, but lists fill tuples.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from scarlet_tf.config.sections import known_keys
from scarlet_tf.errors import InputError

_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
    "none_required": "null",
}
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}


def validate_section(name: str, section: type, raw: Any, mistakes: list[str]) -> Any:
    """The validated section, or None after its mistakes have been added to the list."""
    try:
        document = json.dumps(raw)
    except (TypeError, ValueError) as error:
        mistakes.append(f"{name}: expected plain YAML values: {error}")
        return None
    try:
        return _adapter(section).validate_json(document, strict=True)
    except pydantic.ValidationError as error:
        errors = error.errors()
    repaired = _numbers_in_place(raw, errors)
    if repaired is not None:
        return validate_section(name, section, repaired, mistakes)
    mistakes += list(dict.fromkeys(_explain(name, section, raw, error) for error in _innermost(raw, errors)))
    return None


def _innermost(raw: Any, errors: Sequence[Mapping]) -> list[Mapping]:
    """The errors without those about a value that contains another error: they belong to a union's other branches."""
    paths = [_path(raw, error["loc"]) for error in errors]
    around = {path[:length] for path in paths for length in range(len(path))}
    return [error for error, path in zip(errors, paths, strict=True) if path not in around]


def _numbers_in_place(raw: Any, errors: Sequence[Mapping]) -> Any:
    """`raw` with quantities such as "60M", and whole numbers such as 1e6, where a number is expected; None without any."""
    repaired, found = json.loads(json.dumps(raw)), False
    for error in errors:
        path = _path(raw, error["loc"])
        number = _number(_at(raw, path)) if error["type"] in ("int_type", "int_from_float", "float_type") else None
        if number is not None and path:
            _at(repaired, path[:-1])[path[-1]] = number
            found = True
    return repaired if found else None


def quantity(key: str, text: str) -> float:
    """A number > 0, also with a unit as in "60M"; InputError that begins with `key`."""
    try:
        number = _number(text) or float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise InputError(f"{key}: expected a number > 0, such as 60M, got {text!r}")
    return number


def _number(value: Any) -> int | float | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG])", value) if isinstance(value, str) else None
    if not match:
        return None
    number = float(match[1]) * _UNITS[match[2]]
    return int(number) if number.is_integer() else number


def to_plain(section: type, value: Any) -> Any:
    """A validated section as plain JSON types."""
    return _adapter(section).dump_python(value, mode="json")


@functools.cache
def _adapter(section: type) -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(section)


def _explain(name: str, section: type, raw: Any, error: Mapping) -> str:
    """One pydantic error as "section.key: expected ..., got ..."."""
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"])
        return message if message.startswith(f"{name}.") else f"{name}: {message}"
    path = _path(raw, error["loc"])
    kind = error["type"]
    if kind == "unexpected_keyword_argument":
        path = tuple(error["loc"])
        return f"{_dotted(name, path)}: unknown key{did_you_mean(_dotted(name, path))}"
    if kind == "missing":
        return f"{_dotted(name, tuple(error['loc']))}: missing"
    expected = _EXPECTED.get(kind)
    if kind == "literal_error":
        expected = f"one of {error['ctx']['expected']}"
    return f"{_dotted(name, path)}: expected {expected or error['msg']}, got {show(_at(raw, path))}"


def did_you_mean(dotted: str) -> str:
    """A hint at the nearest key: of the same section first, then the same word in another section."""
    known = list(known_keys())
    head, _, word = dotted.rpartition(".")
    siblings = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == head}
    near = difflib.get_close_matches(word, siblings, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {siblings[near[0]]}?"
    elsewhere = [key for key in known if key.rpartition(".")[2] == word]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    return f"; expected one of {', '.join(sorted(siblings))}" if siblings else ""


def _path(raw: Any, loc: Sequence) -> tuple:
    """The parts of pydantic's location that exist in the data; others name branches of unions."""
    path = []
    for key in loc:
        inside = key in raw if isinstance(raw, Mapping) else isinstance(key, int) and isinstance(raw, list)
        if not inside:
            continue
        path.append(key)
        raw = raw[key]
    return tuple(path)


def _at(raw: Any, path: Sequence) -> Any:
    return functools.reduce(lambda value, key: value[key], path, raw)


def _dotted(name: str, path: Sequence) -> str:
    return name + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def show(value: Any) -> str:
    """A value as the user may have written it, cut to a line."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
