"""First lines of docstrings: an imperative or a noun phrase, no clause that leaves its subject out."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("scarlet_tf", "tools")
CLAUSES = {"How", "Those", "What", "Whether"}


def clauses(source: str) -> list[str]:
    """First lines of the docstrings in `source` that begin with one of CLAUSES."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    texts = [text for node in nodes if (text := ast.get_docstring(node))]
    return [text.splitlines()[0] for text in texts if text.split()[0].strip(",.:;") in CLAUSES]


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_begin_with_an_imperative_or_a_noun(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert {str(file): found for file in files if (found := clauses(file.read_text(encoding="utf-8")))} == {}


def test_a_clause_is_found():
    source = '"""Noun."""\nclass A:\n    """What it is."""\n    def f(self):\n        """Those, of it."""\n'
    assert clauses(source) == ["What it is.", "Those, of it."]
