"""The public names: what loads, and what type checkers and editors are told of it."""

import importlib
import pathlib
import re
import subprocess
import sys

import scarlet_tf

STUB = pathlib.Path(scarlet_tf.__file__).with_suffix(".pyi").read_text()
PUBLIC = {name: f"scarlet_tf{module}" for module, name in re.findall(r"^from (\.\S+) import (\w+) as \2$", STUB, re.M)}


def test_the_stub_lists_each_public_name_once_and_in_order():
    names = re.findall(r'^    "(\w+)",$', STUB, re.M)
    assert names == sorted(set(names)) == sorted([*PUBLIC, "applications"]) == sorted(scarlet_tf.__all__)


def test_every_public_name_is_where_the_list_says():
    for name, module in PUBLIC.items():
        if name != "search":  # the package of that name stands in for it; see tests/search/test_search_run.py
            assert getattr(importlib.import_module(module), name) is getattr(scarlet_tf, name)
    for name in scarlet_tf.applications.__all__:
        assert getattr(scarlet_tf.applications, name).__module__.startswith("scarlet_tf.models.")


def test_importing_the_package_loads_no_tensorflow():
    program = "import sys, scarlet_tf; dir(scarlet_tf); sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
