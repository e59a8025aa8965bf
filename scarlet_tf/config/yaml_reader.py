"""Reads YAML the way people write it, and applies `--set` overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from scarlet_tf.errors import InputError


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML has it, save that 5e6 is a number, yes/no/on/off and dates are strings, and no key repeats."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for key in keys if keys.count(key) > 1]
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key {repeated[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _resolvers() -> Iterator[tuple[str, re.Pattern, Sequence[str | None]]]:
    yield "tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), "tTfF"
    yield "tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+(_[0-9]+)*"), "-+0123456789"
    number = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    yield "tag:yaml.org,2002:float", re.compile(number), "-+.0123456789"
    yield "tag:yaml.org,2002:null", re.compile("~|null|Null|NULL|"), ("~", "n", "N", "")
    yield "tag:yaml.org,2002:merge", re.compile("<<"), "<"


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _resolvers():
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern.pattern})$"), list(_first))


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """PyYAML reads a leading zero as octal; here 010 is ten."""
    return int(str(loader.construct_scalar(node)).replace("_", ""))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def parse_yaml(text: str, source: str) -> Any:
    """The values in `text`; InputError names `source` and the place."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{source}: expected YAML: {' '.join(str(error).split())}") from error


def override(values: dict[str, Any], text: str) -> None:
    """Applies one "section.key=value"; the value is YAML. The schema then judges key and value like any other."""
    dotted, equals, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {text}: expected key=value, such as search.generations=5")
    place = values
    for key in keys[:-1]:
        inner = place.get(key)
        if inner is not None and not isinstance(inner, Mapping):
            raise InputError(f"--set {text}: {key} is no section, it has the value {json.dumps(inner, default=str)}")
        place[key] = dict(inner or {})
        place = place[key]
    place[keys[-1]] = parse_yaml(value, f"--set {text}")
