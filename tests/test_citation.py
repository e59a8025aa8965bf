"""CITATION.cff says what setup.cfg says."""

import configparser
import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_citation_has_the_packages_version_and_licence():
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["title"] == metadata["metadata"]["name"]
    assert citation["version"] == metadata["metadata"]["version"]
    assert citation["license"] == metadata["metadata"]["license"]


def test_references_name_both_papers_with_authors():
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert [reference["title"].split(":")[0] for reference in references] == ["SCARLET-NAS", "BETANAS"]
    assert all(author["family-names"] and author["given-names"] for one in references for author in one["authors"])
