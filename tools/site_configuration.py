"""The page of the site on configurations, and the JSON Schema for editors, both of `scarlet_tf.config.json_schema`."""

from __future__ import annotations

import html
import json
import pathlib
from collections.abc import Iterator, Mapping

from scarlet_tf.config import json_schema

SCHEMA = pathlib.Path(__file__).resolve().parent.parent / "configs" / "scarlet.schema.json"
HEAD = """# Configuration

A run is one YAML file. Unknown keys, wrong types and impossible values are reported with the key, what was expected and what
came, before anything is trained. `--set section.key=value` overrides one value. Quantities may be written as `20k`, `4M`, `1.5G`.
`config.yaml` in the run folder is the configuration with every default written out.

Bare words: `true` and `false` are booleans, `~` and `null` null, `10` and `1_000` integers, `0.5` and `4e-5` floats, and
everything else is text, such as `yes`, `0x1F` and `2026-11-29`. Text that looks like a number needs quotes: `name: "0908"`. A key
that is given twice is refused; `&name`, `*name` and `<<` work.

An editor with the YAML language server completes and checks the keys of a file that begins with
`# yaml-language-server: $schema=PATH`, where PATH leads to
[configs/scarlet.schema.json](../../configs/scarlet.schema.json), relative to the file.

"""


def configuration_page() -> str:
    """Markdown: a section for each section of a configuration, and an entry for each key."""
    schema = json_schema()
    top = {key: one for key, one in schema["properties"].items() if "properties" not in one}
    parts = list(_entries(top))
    for key, one in schema["properties"].items():
        parts += _section(key, one) if "properties" in one else ()
    return HEAD + "\n".join(parts)


def _section(name: str, schema: Mapping) -> Iterator[str]:
    yield f"{'#' * (2 + name.count('.'))} {name}\n\n{_text(schema['description'])}\n"
    yield from _entries(schema["properties"])
    for key, one in schema["properties"].items():
        for option in one.get("anyOf", [one]):
            yield from _section(f"{name}.{key}", option) if "properties" in option else ()


def _entries(properties: Mapping[str, Mapping]) -> Iterator[str]:
    for key, one in properties.items():
        default = f" Default: `{json.dumps(one['default'])}`." if "default" in one else ""
        yield f"`{key}`\n:   {_text(one['description'])}{default}\n"


def _text(description: str) -> str:
    return html.escape(description, quote=False)


def main() -> None:
    """Write configs/scarlet.schema.json."""
    SCHEMA.write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
