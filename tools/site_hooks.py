"""Hooks of mkdocs and an extension of griffe: pages outside docs/ and their links, and what is made from code.

The page on commands comes from their parser, the one on configurations from their JSON Schema, the zoo's constructors from
their signatures at run time.
"""

from __future__ import annotations

import argparse
import html
import importlib
import inspect
import json
import pathlib
import posixpath
import re
from collections.abc import Iterator, Mapping

import griffe
from mkdocs.structure.files import File, Files

from scarlet_tf.base import logs
from scarlet_tf.cli import make_parser
from scarlet_tf.config import json_schema
from scarlet_tf.models.zoo_data import ZOO

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Files that the site shows or serves under their paths in the repository.
INCLUDED = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "export/**/*.md",
    "export/*.json",
    "configs/**/*.yaml",
    "configs/*.json",
    "notebooks/*.ipynb",
)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)")


def included_files() -> list[str]:
    """Paths of the files outside docs/ that become part of the site, relative to the repository."""
    found = {path for pattern in INCLUDED for path in ROOT.glob(pattern) if "node_modules" not in path.parts}
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def on_files(files: Files, config) -> Files:
    """Add files outside docs/."""
    for path in included_files():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    logs.quiet_frameworks()
    with logs.NativeLines():  # TensorFlow's messages at its import, which mkdocstrings would cause later
        importlib.import_module("tensorflow")
        for path, page in GENERATED.items():
            files.append(File.generated(config, path, content=page()))
    return files


def on_page_markdown(markdown: str, page, config, files: Files) -> str:
    """Rewrite links of the repository, where docs/ is a folder; in the site its content is at the top."""
    source = page.file.src_uri
    in_repository = source if source in included_files() else f"docs/{source}"
    return _LINK.sub(lambda link: site_link(link[1], in_repository, source), markdown)


def site_link(link: str, in_repository: str, in_site: str) -> str:
    """`link` of the page `in_repository`, for the page's place in the site."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), link))
    return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(in_site) or ".")


# -- Commands ------------------------------------------------------------------------------------------------------

COMMANDS_HEAD = """# Commands

Exit codes: 0 success, 1 failure (a check that fails, or a traceback in `run.log`), 2 bad input, 130 interrupted. `--json` prints
the figures as one JSON object and nothing else.

"""


def cli_page() -> str:
    """Markdown: a section for each command with its usage, its options and its examples."""
    return COMMANDS_HEAD + "\n".join("\n".join(_section(parser)) for parser in commands(make_parser()))


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands, those of commands' actions included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from commands(inner)
            return
    yield parser


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """The command lines at the end of the command's --help."""
    return (parser.epilog or "").removeprefix("example: ").split("; ") if parser.epilog else []


def _section(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {parser.prog}\n"
    yield f"{parser.description}\n"
    if examples(parser):
        yield "```sh\n" + "\n".join(examples(parser)) + "\n```\n"
    for group in parser._action_groups:
        rows = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if rows and group.title and group.description:
            yield f"{group.title.capitalize()}: {group.description}\n"
        yield from (_row(action, parser) for action in rows)


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    names = ", ".join(action.option_strings) or action.metavar or action.dest
    value = parser._get_formatter()._format_args(action, action.dest.upper()) if action.option_strings else ""
    meaning = html.escape((action.help or "") % {**vars(action), "prog": parser.prog}, quote=False)
    return f"`{f'{names} {value}'.strip()}`\n:   {meaning[:1].upper() + meaning[1:]}\n"


# -- Configuration -------------------------------------------------------------------------------------------------

CONFIGURATION_HEAD = """# Configuration

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
        parts += _settings(key, one) if "properties" in one else ()
    return CONFIGURATION_HEAD + "\n".join(parts)


def _settings(name: str, schema: Mapping) -> Iterator[str]:
    yield f"{'#' * (2 + name.count('.'))} {name}\n\n{_text(schema['description'])}\n"
    yield from _entries(schema["properties"])
    for key, one in schema["properties"].items():
        for inner in _mappings(one):
            yield from _settings(f"{name}.{key}", inner)


def _mappings(schema: Mapping) -> Iterator[Mapping]:
    """The mappings that a value may be, or a list of which it may be."""
    if "properties" in schema:
        yield schema
    for inner in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from _mappings(inner)


def _entries(properties: Mapping[str, Mapping]) -> Iterator[str]:
    for key, one in properties.items():
        default = f" Default: `{json.dumps(one['default'])}`." if "default" in one else ""
        yield f"`{key}`\n:   {_text(one['description'])}{default}\n"


def _text(description: str) -> str:
    return html.escape(description, quote=False)


GENERATED = {"reference/cli.md": cli_page, "reference/configuration.md": configuration_page}


# -- Constructors of the zoo, which one function makes at run time -------------------------------------------------

ZOO_MODULE = "scarlet_tf.models.zoo"


class Constructors(griffe.Extension):
    """Extension that replaces the attributes that griffe finds with functions."""

    def on_package(self, *, pkg: griffe.Module, **_) -> None:
        """Called when all of the package has been read."""
        module, runtime = pkg["models.zoo"], importlib.import_module(ZOO_MODULE)
        for name in (entry.constructor for entry in ZOO.values()):
            module.set_member(name, _function(getattr(runtime, name), module))


def _function(constructor, module: griffe.Module) -> griffe.Function:
    parameters = griffe.Parameters(
        *(
            griffe.Parameter(name, kind=griffe.ParameterKind.positional_or_keyword, default=repr(one.default))
            for name, one in inspect.signature(constructor).parameters.items()
        )
    )
    function = griffe.Function(constructor.__name__, parameters=parameters, parent=module)
    function.docstring = griffe.Docstring(inspect.getdoc(constructor) or "", parent=function)
    return function
