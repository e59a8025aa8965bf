"""The documentation site: complete, generated from the code, and built without a warning."""

import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml
from doc_blocks import ROOT
from test_public_names import PUBLIC

import scarlet_tf as st
from scarlet_tf.cli import make_parser
from scarlet_tf.config import known_keys
from site_hooks import GENERATED, cli_page, commands, configuration_page, examples, included_files, site_link


class _Loader(yaml.SafeLoader):
    """mkdocs.yml has tags for Python objects, which mean nothing here."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def nav_files(entry):
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [file for value in values for file in nav_files(value)]


def test_the_navigation_has_every_page():
    config = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages |= {path for path in included_files() if path.endswith(".md")} | set(GENERATED)
    assert sorted(nav_files(config["nav"])) == sorted(pages)


def test_the_reference_has_every_public_name_once():
    text = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    shown = re.findall(r"^::: (scarlet_tf[\w.]+)\.(\w+)$", text, re.MULTILINE)
    names = [name for _, name in shown]
    assert len(names) == len(set(names)) and {*st.__all__, *st.applications.__all__} - {"applications"} <= set(names)
    for module, name in shown:
        assert hasattr(importlib.import_module(module), name)
        if name in st.__all__:
            assert (module, name) == (PUBLIC[name], name)


def test_the_commands_page_has_every_command_and_its_examples_are_valid():
    page = cli_page()
    for parser in commands(make_parser()):
        assert f"## {parser.prog}\n" in page
        for example in examples(parser):
            words = re.search(r"scarlet ([^)\"]+)", example)[1].split()
            make_parser().parse_args(words)


def test_the_configuration_page_has_every_key_with_what_it_means():
    page = configuration_page()
    headings = re.findall(r"^#+ ([a-z_.]+)\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    shown = {f"{section}.{key}" for section, text in headings for key in re.findall(r"^`(\w+)`", text, re.MULTILINE)}
    assert {key for key in known_keys() if "." in key} <= shown
    assert {key for key in known_keys() if "." not in key} <= {
        *re.findall(r"^`(\w+)`", page, re.MULTILINE),
        *dict(headings),
    }
    assert not re.search(r":   (Default|Expected)", page)


def test_links_out_of_the_docs_folder_stay_in_the_site():
    assert site_link("../export/README.md", "docs/first-steps.md", "first-steps.md") == "export/README.md"
    assert site_link("../../notebooks/a.ipynb", "docs/how-to/x.md", "how-to/x.md") == "../notebooks/a.ipynb"
    assert site_link("docs/results.md", "CONTRIBUTING.md", "CONTRIBUTING.md") == "results.md"
    assert site_link("../design.md", "docs/how-to/x.md", "how-to/x.md") == "../design.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What `make docs` builds, and what that said."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    return folder, done


@pytest.mark.slow
def test_the_site_builds_without_a_warning(site):
    _folder, done = site
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_pages_load_nothing_from_other_hosts(site):
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\bsrc=\"?(?:https?:)?//|<link[^>]*rel=\"?(?:stylesheet|preconnect)[^>]*//"
    )
    found = [path.name for path in pathlib.Path(site[0]).rglob("*.html") if loads.search(path.read_text())]
    assert found == []


@pytest.mark.slow
def test_links_and_anchors_lead_somewhere(site):
    folder = pathlib.Path(site[0])
    broken = []
    for page in folder.rglob("*.html"):
        for link in re.findall(r'href="([^"]*)"', page.read_text()):
            if re.match(r"[a-z]+:|//", link) or page.name == "404.html":
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and f'id="{anchor}"' not in target.read_text()):
                broken.append(f"{page.relative_to(folder)}: {link}")
    assert broken == []
