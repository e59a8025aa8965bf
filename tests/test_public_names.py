"""The public names: what loads, and what type checkers and editors are told of it."""

import importlib
import subprocess
import sys

import scarlet_tf
import write_files


def test_stub_lists_what_the_package_offers():
    assert write_files.STUB.read_text() == write_files.stub(), "python tools/write_files.py stub writes it again"


def test_every_public_name_is_where_the_list_says():
    for name, module in scarlet_tf._LAZY.items():
        if name != "search":  # the package of that name stands in for it; see tests/search/test_search_run.py
            assert getattr(importlib.import_module(module), name) is getattr(scarlet_tf, name)


def test_importing_the_package_loads_no_tensorflow():
    program = "import sys, scarlet_tf; dir(scarlet_tf); sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
