"""One reader and one writer of YAML for the whole package; they agree on every string.

PyYAML parses the syntax, in C if it was built so; the meaning of a bare word is defined here, for both directions: true and
false are booleans, ~ and null are null, 10, 010 and 1_000 are integers, 1., 4e-5 and .inf are floats, and everything
else is text: yes, 0x1F, 1:30, 2026-11-29. `<<` merges; repeated keys and tags other than `!!str` are refused.
"""

from __future__ import annotations

import math
import os
import re
import sys
from typing import Any, NoReturn

import yaml

from scarlet_tf.base.errors import InputError

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_WORDS = {
    bool: re.compile("true|True|TRUE|false|False|FALSE"),
    int: re.compile("[-+]?[0-9]+(_[0-9]+)*"),
    float: re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    type(None): re.compile("~|null|Null|NULL|"),
}
_TAGS = {bool: f"{_TAG}bool", int: f"{_TAG}int", float: f"{_TAG}float", type(None): f"{_TAG}null", str: f"{_TAG}str"}
# Characters that a file cannot hold unescaped; the last four would be read as line breaks or as the file's beginning.
_FORBIDDEN = re.compile("[^\t\n\r -~\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u0085\u2028\u2029\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
# Far beyond any genuine file: deeper, larger or longer ones are refused before they cost time or memory.
_MOST_BYTES = 2**26
_DEEPEST = 100
_MOST_REPEATED = 10_000
_MOST_DIGITS = 300


def read_yaml(path) -> Any:
    """Return the values in the YAML file `path`; InputError names the file and the place."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: expected a YAML file in UTF-8, got byte {error.object[error.start]:#04x} in line {line}"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a readable YAML file: {getattr(error, 'strerror', None) or error}"
        ) from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: expected a YAML file of at most {_MOST_BYTES >> 20} MiB, got more")
    return parse_yaml(text, os.fspath(path))


def parse_yaml(text: str, source: str) -> Any:
    """Return the values in `text`, None if it is empty; InputError names `source` and the place."""
    return _Document(text, source).value()


def to_yaml(value: Any, compact: bool = False) -> str:
    """Return plain values as text that `parse_yaml` reads back equal; `compact` puts innermost lists on one line each."""
    return _dump(value, None if compact else False)


def to_yaml_line(value: Any) -> str:
    """Return a plain value as it may follow a key: one line, without its end."""
    return _dump([value], True)[1:-2]


def _dump(value: Any, flow: bool | None) -> str:
    options: Any = {"sort_keys": False, "allow_unicode": True, "width": sys.maxsize}  # lines are not folded
    return yaml.dump(value, Dumper=_Dumper, default_flow_style=flow, **options)


class _Document:
    """Builder of one document's values from the parser's events."""

    def __init__(self, text: str, source: str):
        self._source = source
        bad = _FORBIDDEN.search(text)
        if bad:
            start = text.rfind("\n", 0, bad.start()) + 1
            place = (text.count("\n", 0, start), bad.start() - start)
            self._fail(f"the character U+{ord(bad[0]):04X} is not allowed unless it is escaped", place)
        self._events = yaml.parse(text, Loader=_PARSER)
        self._anchors: dict[str, tuple[Any, int] | None] = {}  # the value and its number of parts; None while open
        self._count = self._repeated = 0

    def value(self) -> Any:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._node(self._next(), 0)
        self._next()
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._fail("a second document begins; one is read", event)
        return value

    def _next(self) -> Any:
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            self._fail(
                ", ".join(filter(None, (error.context, error.problem))), error.problem_mark or error.context_mark
            )
        except yaml.YAMLError as error:
            self._fail(" ".join(str(error).split()))

    def _fail(self, problem: str, place: Any = None) -> NoReturn:
        """`place`: an event, a mark of the parser or (line, column), from 0."""
        place = getattr(place, "start_mark", place)
        line, column = (
            place if isinstance(place, tuple) else (getattr(place, "line", None), getattr(place, "column", 0))
        )
        where = "" if line is None else f" (line {line + 1}, column {column + 1})"
        raise InputError(f"{self._source}: expected YAML: {problem}{where}")

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._repeat(event)
        if depth >= _DEEPEST and not isinstance(event, yaml.ScalarEvent):
            self._fail(f"lists and mappings are nested more than {_DEEPEST} deep", event)
        before = self._count
        self._count += 1
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, depth)
        else:
            value = self._mapping(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _repeat(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            self._fail(f"*{event.anchor} is not defined above", event)
        known = self._anchors[event.anchor]
        if known is None:
            self._fail(f"*{event.anchor} stands inside the value that it names", event)
        value, size = known
        self._count += size
        self._repeated += size
        if self._repeated > _MOST_REPEATED:
            self._fail(f"aliases repeat more than {_MOST_REPEATED:,} values", event)
        return value

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", _TAG + kind):
            self._fail(f"the tag {event.tag.replace(_TAG, '!!')!r} is unknown here; leave it out", event)

    def _scalar(self, event: Any) -> Any:
        self._check_tag(event, "str")
        kind = _kind(event.value) if event.tag is None and event.implicit[0] else str
        if kind is int and sum(map(str.isdigit, event.value)) > _MOST_DIGITS:
            self._fail(f"an integer has more than {_MOST_DIGITS} digits: {event.value[:20]}...", event)
        if event.style == '"' and _SURROGATES.search(event.value):
            self._fail("an escape stands for half a character", event)
        value = _convert(kind, event.value)
        if kind is float and math.isinf(value) and event.value[-1].isdigit():
            self._fail(f"the number {event.value[:20]} is beyond the greatest float", event)
        return value

    def _sequence(self, event: Any, depth: int) -> list:
        self._check_tag(event, "seq")
        values = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            values.append(self._node(event, depth + 1))
        return values

    def _mapping(self, event: Any, depth: int) -> dict:
        self._check_tag(event, "map")
        own: dict = {}
        merged: dict | None = None
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                if merged is not None:
                    self._fail("key '<<' is given twice", event)
                merged = self._merged(event, depth)
                continue
            key = self._node(event, depth + 1)
            if isinstance(key, list | dict):
                self._fail(f"a {'list' if isinstance(key, list) else 'mapping'} is no key", event)
            if key in own:
                self._fail(f"key {key!r} is given twice", event)
            own[key] = self._node(self._next(), depth + 1)
        return {**merged, **own} if merged else own

    def _merged(self, key: Any, depth: int) -> dict:
        """The mapping after `<<`, or those of a list, of which an earlier one takes precedence."""
        value = self._node(self._next(), depth + 1)
        merged: dict = {}
        for mapping in reversed(value) if isinstance(value, list) else [value]:
            if not isinstance(mapping, dict):
                self._fail("'<<' stands before what is neither a mapping nor a list of mappings", key)
            merged |= mapping
        return merged


def _kind(word: str) -> type:
    """The type of a bare word."""
    return next((kind for kind, pattern in _WORDS.items() if pattern.fullmatch(word)), str)


def _convert(kind: type, word: str) -> Any:
    if kind is bool:
        return word.lower() == "true"
    if kind is int:
        return int(word)
    if kind is float:
        return float(word.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return word if kind is str else None


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes text that would be read as something else, here or by any reader of YAML 1.1 or 1.2."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        own = _kind(value) if kind is yaml.ScalarNode and implicit[0] else str
        return super().resolve(kind, value, implicit) if own is str else _TAGS[own]


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    if _SURROGATES.search(text):
        raise InputError(f"{text!a}: expected text that a file in UTF-8 can hold")
    return dumper.represent_scalar(_TAGS[str], text, style='"' if "\n" in text or _FORBIDDEN.search(text) else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_implicit_resolver(f"{_TAG}int", re.compile("0o[0-7]+$"), ["0"])  # as YAML 1.2 writes octal numbers
