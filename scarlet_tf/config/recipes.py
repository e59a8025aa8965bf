"""Recipes: named blocks of values that a section's `recipe` key stands for."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
from typing import Any

from scarlet_tf.settings import show
from scarlet_tf.yaml_files import parse_yaml

# Sections that may name a recipe; a recipe may also give values of `data`.
SECTIONS = ("supernet", "retrain")


@functools.cache
def recipes() -> dict[str, dict[str, dict[str, Any]]]:
    """{name: {section: values}} of the YAML files in this package's folder recipes/."""
    folder = importlib.resources.files("scarlet_tf.config").joinpath("recipes")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): parse_yaml(file.read_text(encoding="utf-8"), file.name) for file in files}


def recipe_names(section: str) -> list[str]:
    """The recipes that `section` may name."""
    return [name for name, blocks in recipes().items() if section in blocks]


def expand(values: Mapping[str, Any], mistakes: list[str]) -> dict[str, Any]:
    """`values` with every `recipe` replaced by its values; values written beside it take precedence.

    The configuration's own values of `data` take precedence over the recipes'. Mistakes are added to the list: an unknown
    name, and two recipes with different values for one key of `data` that the configuration does not give.
    """
    expanded = dict(values)
    data: dict = {}
    for section in SECTIONS:
        raw = values.get(section)
        if not isinstance(raw, Mapping) or "recipe" not in raw:
            continue
        expanded[section] = {key: value for key, value in raw.items() if key != "recipe"}
        name = raw["recipe"]
        if name is None:
            continue
        if not isinstance(name, str) or name not in recipe_names(section):
            mistakes.append(f"{section}.recipe: expected one of {', '.join(recipe_names(section))}, got {show(name)}")
            continue
        blocks = recipes()[name]
        expanded[section] = {**blocks[section], **expanded[section]}
        for key, value in blocks.get("data", {}).items():
            data.setdefault(key, {})[name] = value
    own = values.get("data")
    if not data or not (own is None or isinstance(own, Mapping)):
        return expanded
    own = own or {}
    for key, wanted in data.items():
        if key not in own and len({show(value) for value in wanted.values()}) > 1:
            both = " and ".join(f"{show(value)} ({name})" for name, value in wanted.items())
            mistakes.append(f"data.{key}: expected a value, since the recipes want different ones: {both}, got none")
    expanded["data"] = {**{key: next(iter(wanted.values())) for key, wanted in data.items()}, **own}
    return expanded
