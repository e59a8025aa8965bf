"""The page of the site on configurations, made from the sections' dataclasses and their docstrings."""

from __future__ import annotations

import dataclasses
import html
import json
import types
import typing
from collections.abc import Iterator

import griffe

from scarlet_tf.config.recipes import SECTIONS as WITH_RECIPES
from scarlet_tf.config.recipes import recipe_names
from scarlet_tf.config.sections import section_types
from scarlet_tf.settings import describe
from scarlet_tf.space import SearchSpace

HEAD = """# Configuration

A run is one YAML file. Unknown keys, wrong types and impossible values are reported with the key, what was expected and what
came, before anything is trained. `--set section.key=value` overrides one value. Quantities may be written as `20k`, `4M`, `1.5G`.
`config.yaml` in the run folder is the configuration with every default written out.

Bare words: `true` and `false` are booleans, `~` and `null` null, `10` and `1_000` integers, `0.5` and `4e-5` floats, and
everything else is text, such as `yes`, `0x1F` and `2026-11-29`. Text that looks like a number needs quotes: `name: "0908"`. A key
that is given twice is refused; `&name`, `*name` and `<<` work.

`name`
:   Of the run. Default: the file's name.

`seed`
:   Of every section that has a seed and does not set it. Default: `0`.
"""
SPACE = """A published name (`s1` or `s2`), the path of a YAML file, relative to the configuration, or a mapping with these keys.
Required."""
RECIPE = """`recipe`
:   A block of values that the section's other keys override: {}. Default: none.
"""


def configuration_page() -> str:
    """Markdown: a section for each section of a configuration, and an entry with type and default for each key."""
    types_ = section_types()
    order = ["data", "space", *(name for name in types_ if name != "data")]
    sections = [_section(name, SearchSpace if name == "space" else types_[name]) for name in order]
    return HEAD + "".join(f"\n{line}" for section in sections for line in section)


def _section(name: str, cls: type) -> Iterator[str]:
    intro, meanings = documented(cls)
    yield f"{'#' * (2 + name.count('.'))} {name}\n"
    yield f"{SPACE if name == 'space' else intro}\n"
    if name in WITH_RECIPES:
        yield RECIPE.format(", ".join(f"`{recipe}`" for recipe in recipe_names(name)))
    hints = typing.get_type_hints(cls, include_extras=True)
    inner = []
    for field in dataclasses.fields(cls):
        allowed = describe(hints[field.name])
        yield f"`{field.name}` <small>{allowed}</small>\n:   {meanings[field.name]} {_default(field)}\n"
        inner += [(f"{name}.{field.name}", option) for option in _nested(hints[field.name])]
    for inner_name, inner_class in inner:
        yield from _section(inner_name, inner_class)


def documented(cls: type) -> tuple[str, dict[str, str]]:
    """The text of a dataclass' docstring, and that of each field; fields may share an entry: "a, b: ..."."""
    inherited = [documented(base)[1] for base in cls.__bases__ if dataclasses.is_dataclass(base)]
    sections = griffe.parse_google(griffe.Docstring(cls.__doc__ or ""), warnings=False)
    intro = " ".join(part.value for part in sections if part.kind is griffe.DocstringSectionKind.text)
    entries = [one for part in sections if part.kind is griffe.DocstringSectionKind.parameters for one in part.value]
    own = {name: _sentence(entry.description) for entry in entries for name in entry.name.split(", ")}
    return intro, {name: text for meanings in (*inherited, own) for name, text in meanings.items()}


def _sentence(text: str) -> str:
    text = html.escape(text.replace("\n", " "), quote=False)
    return text[:1].upper() + text[1:]


def _nested(hint) -> list[type]:
    return [one for one in _parts(hint) if isinstance(one, type) and dataclasses.is_dataclass(one)]


def _parts(hint) -> tuple:
    """The types that a key may have, those in lists included."""
    if typing.get_origin(hint) is tuple:
        return _parts(typing.get_args(hint)[0])
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _default(field: dataclasses.Field) -> str:
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value is dataclasses.MISSING:
        return "Required."
    if dataclasses.is_dataclass(value):
        return "Its keys are below."
    return f"Default: `{json.dumps(value)}`."
