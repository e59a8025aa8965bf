#!/usr/bin/env python3
"""Write scarlet_tf/__init__.pyi, from which type checkers and editors learn the public names: the package's own list loads
them at first use, which neither can follow. Run it after a change of that list; a test compares the two.

    python tools/write_stub.py
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections import defaultdict

import scarlet_tf

PATH = pathlib.Path(__file__).resolve().parent.parent / "scarlet_tf" / "__init__.pyi"


def stub() -> str:
    """The stub's text: an explicit export of each public name from the module that defines it."""
    places = defaultdict(list)
    for name in sorted(scarlet_tf.__all__):
        places[vars(scarlet_tf)["_LAZY"][name]].append(name)
    lines = ["# Written by tools/write_stub.py."]
    lines += [f"from {module} import {name} as {name}" for module in sorted(places) for name in places[module]]
    lines += [
        "",
        "__version__: str",
        "__all__ = [",
        *(f'    "{name}",' for name in sorted(scarlet_tf.__all__)),
        "]",
        "",
    ]
    return _formatted("\n".join(lines))


def _formatted(text: str) -> str:
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        words = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(PATH), "-"]
        text = subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    PATH.write_text(stub(), encoding="utf-8", newline="\n")
