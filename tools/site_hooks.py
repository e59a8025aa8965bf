"""Hooks of mkdocs: pages outside docs/, pages made from code, and links from one folder to the other."""

from __future__ import annotations

import importlib
import pathlib
import posixpath
import re

from mkdocs.structure.files import File, Files

from scarlet_tf import logs
from site_cli import cli_page
from site_configuration import configuration_page

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
GENERATED = {"reference/cli.md": cli_page, "reference/configuration.md": configuration_page}
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
