"""TensorFlow's use of oneDNN on this processor; imports no framework.

TensorFlow reads TF_ENABLE_ONEDNN_OPTS when it is imported. Without it, oneDNN is on where the processor has one of a few
features, and off on other x86 processors although they train faster with it. The command line sets the variable there
(`set_faster`). Used as a library, the package sets nothing.
"""

from __future__ import annotations

import os
import pathlib
import sys

from scarlet_tf.errors import InputError

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
KERNELS = "SCARLET_KERNELS"  # see scarlet_tf.evaluation.kernels
# The value that the command line has set, for processes that it starts: they inherit both.
SET_BY_US = "SCARLET_SET_ONEDNN_OPTS"
CPUINFO = pathlib.Path("/proc/cpuinfo")
NEEDED = {"avx2", "fma"}
# With one of these TensorFlow turns oneDNN on by itself (as of 2.21).
TENSORFLOWS_OWN = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}


def onednn_setting() -> str | None:
    """Return "0" or "1", None if the variable is not set or empty, so that TensorFlow decides; else raise InputError."""
    value = os.environ.get(VARIABLE) or None
    if value not in (None, "0", "1"):
        raise InputError(f"{VARIABLE}: expected 0 or 1, or unset it, got {value!r}")
    return value


def set_faster(cpuinfo: pathlib.Path = CPUINFO) -> None:
    """Turn oneDNN on if that is faster and nobody has decided; call it before TensorFlow is imported.

    Raises InputError as `onednn_setting` does.
    """
    if onednn_setting() is None and "tensorflow" not in sys.modules:
        os.environ.pop(VARIABLE, None)  # TensorFlow warns of an empty value
        if needs_onednn(_read(cpuinfo)):
            os.environ[VARIABLE] = os.environ[SET_BY_US] = "1"


def in_use(cpuinfo: pathlib.Path = CPUINFO) -> str | None:
    """Return "1" if TensorFlow has oneDNN on, "0" if off, None if it decides by facts not known here."""
    return onednn_setting() or tensorflows_choice(_read(cpuinfo))


def needs_onednn(cpuinfo: str) -> bool:
    """Return True if a processor is faster with oneDNN, but TensorFlow leaves it off. `cpuinfo`: /proc/cpuinfo's text."""
    return tensorflows_choice(cpuinfo) == "0" and _flags(cpuinfo) >= NEEDED


def tensorflows_choice(cpuinfo: str) -> str | None:
    """Return TensorFlow's own choice: "1", "0", or None if the text is not of an x86 processor under Linux."""
    flags = _flags(cpuinfo)
    return None if not flags else "1" if flags & TENSORFLOWS_OWN else "0"


def _flags(cpuinfo: str) -> set[str]:
    """Return the flags that all cores have; only x86 has lines of that name."""
    fields = (line.partition(":") for line in cpuinfo.splitlines())
    cores = [set(value.split()) for name, _, value in fields if name.strip() == "flags"]
    return set.intersection(*cores) if cores else set()


def chosen() -> str:
    """Return who has decided on oneDNN: "TensorFlow's choice", "set by scarlet_tf" or "set by you"."""
    value = onednn_setting()
    if value is None:
        return "TensorFlow's choice"
    return "set by scarlet_tf" if os.environ.get(SET_BY_US) == value else "set by you"


def in_words() -> str:
    """Return a line for logs."""
    value = onednn_setting()
    state = {"1": "on, ", "0": "off, ", None: ""}[value]
    return f"oneDNN: {state}{chosen()} ({VARIABLE}{f'={value}' if value else ' is not set'})"


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
