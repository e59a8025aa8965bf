"""The pictures of the concepts: every one that a page shows is there, and every one is shown."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from doc_blocks import ROOT, documents

PICTURE = re.compile(r"!\[(.*?)\]\((.*?)\)")


def shown():
    """(document, text for those who cannot see it, path) of every picture in the documentation."""
    for document in documents():
        for text, path in PICTURE.findall((ROOT / document).read_text(encoding="utf-8")):
            if "://" not in path:
                yield document, text, (ROOT / document).parent / path


def test_every_picture_is_there_and_says_in_words_what_it_shows():
    assert [(document, str(path)) for document, text, path in shown() if not path.is_file() or len(text) < 10] == []


def test_every_concept_has_a_picture_and_every_picture_a_page():
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/concepts").glob("*.md")}
    assert pages <= {document for document, _, _ in shown()}
    assert {path.resolve() for path in (ROOT / "docs/pictures").glob("*.svg")} <= {p.resolve() for _, _, p in shown()}


@pytest.mark.parametrize("path", sorted((ROOT / "docs/pictures").glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_is_on_white_so_that_dark_pages_show_it(path):
    root = ElementTree.parse(path).getroot()
    sheet = next(element for element in root.iter() if element.get("id") == "patch_1")
    assert "fill: #ffffff" in next(iter(sheet)).get("style")
