"""Checks of the calling process: Keras' settings, and forks. Imports no framework.

Keras reads keras.json and KERAS_BACKEND when it is imported, which takes seconds; here both are read without it, so that
a setting that would fail a run at its export is refused before anything is read or written.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from scarlet_tf.base.errors import InputError

# Settings required by training, search, evaluation and export. Layers and models work under every other value, too.
WANTED = {"backend": "tensorflow", "floatx": "float32", "dtype_policy": "float32"}
# Values that Keras' import accepts from keras.json; any other value ends it with a traceback.
_KNOWN = {"floatx": ("float16", "float32", "float64"), "image_data_format": ("channels_last", "channels_first")}
_forked = False


def check() -> None:
    """Raise InputError if this process cannot train, search, evaluate or export: it names the setting and the remedy."""
    check_fork()
    for key, found, place, remedy in _settings():
        if key in WANTED and found != WANTED[key]:
            raise InputError(f"{place}: expected {WANTED[key]!r}, got {found!r}; {remedy}")


def check_fork() -> None:
    """Raise InputError in a child that was forked after TensorFlow's first operation, without its threads: it would hang."""
    if _forked:
        raise InputError(
            "this process was forked after TensorFlow had been used, which would hang; start processes with"
            ' multiprocessing.get_context("spawn"), or fork before the first use'
        )


def _settings() -> Iterator[tuple[str, Any, str, str]]:
    """Yield (key, value, where it was set, remedy)."""
    if "keras" in sys.modules:
        import keras

        again = "set KERAS_BACKEND=tensorflow before Keras is imported"
        yield "backend", keras.config.backend(), "keras.config.backend()", again
        yield "floatx", keras.config.floatx(), "keras.config.floatx()", "call keras.config.set_floatx('float32')"
        name = keras.config.dtype_policy().name
        remedy = "call keras.config.set_dtype_policy('float32'); supernet.precision and retrain.precision are for mixed precision"
        yield "dtype_policy", name, "keras.config.dtype_policy()", remedy
        return
    path, values = _keras_json()
    for key, known in _KNOWN.items():
        if key in values and values[key] not in known:
            raise InputError(f"{path}: {key}: expected one of {list(known)}, got {values[key]!r}; correct the file")
    if not isinstance(values.get("epsilon", 1e-7), float):
        raise InputError(
            f"{path}: epsilon: expected a number such as 1e-07, got {values['epsilon']!r}; correct the file"
        )
    if backend := os.environ.get("KERAS_BACKEND"):
        yield "backend", backend, "KERAS_BACKEND", "unset it, or set it to tensorflow"
    elif "backend" in values:
        yield "backend", values["backend"], f"{path}: backend", "change it there, or set KERAS_BACKEND=tensorflow"
    if "floatx" in values:
        yield "floatx", values["floatx"], f"{path}: floatx", "change it there"


def _keras_json() -> tuple[pathlib.Path, Mapping]:
    """Return the path and the content of Keras' configuration; empty if Keras reads nothing from it."""
    folder = os.environ.get("KERAS_HOME")
    if folder is None:
        home = os.path.expanduser("~")
        folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    path = pathlib.Path(folder, "keras.json").expanduser()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return path, {}
    return path, values if isinstance(values, dict) else {}


def _after_fork() -> None:
    global _forked
    _forked = _forked or _tensorflow_was_used()


def _tensorflow_was_used() -> bool:
    """Return True if TensorFlow has made its threads, at its first operation: then their number cannot be set any more."""
    tensorflow = sys.modules.get("tensorflow")
    threading = getattr(getattr(tensorflow, "config", None), "threading", None)
    if threading is None:  # not imported, or not completely
        return False
    number = threading.get_intra_op_parallelism_threads()
    try:
        threading.set_intra_op_parallelism_threads(number + 1)
    except RuntimeError:
        return True
    threading.set_intra_op_parallelism_threads(number)
    return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# -- TensorFlow's use of oneDNN and of memory on this processor; imports no framework -------------------------------
#
# TensorFlow reads both variables when it is imported or first used. Without TF_ENABLE_ONEDNN_OPTS, oneDNN is on where the
# processor has one of a few features, and off on other x86 processors although they train faster with it. Where oneDNN is
# off, TensorFlow takes each tensor from the C library's heap, whose holes add up, unless TF_CPU_ALLOCATOR_USE_BFC gives it
# the pool that it has with oneDNN. The command line sets the variables there (`set_faster`). Used as a library, the package
# sets nothing.


VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
ALLOCATOR = "TF_CPU_ALLOCATOR_USE_BFC"
KERNELS = "SCARLET_KERNELS"  # see scarlet_tf.evaluation.kernels
# What the command line has set, as "NAME=VALUE ...", for processes that it starts: they inherit all of it.
SET_BY_US = "SCARLET_HAS_SET"
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
    """Set the variables of this process as `with_faster` does; call it before TensorFlow is imported.

    Raises InputError as `onednn_setting` does.
    """
    onednn_setting()
    if "tensorflow" not in sys.modules:
        wanted = with_faster(os.environ, cpuinfo)
        for name in (VARIABLE, ALLOCATOR, SET_BY_US):
            os.environ.pop(name, None)  # TensorFlow warns of an empty value
            if name in wanted:
                os.environ[name] = wanted[name]


def with_faster(environment: Mapping[str, str], cpuinfo: pathlib.Path = CPUINFO) -> dict[str, str]:
    """Return `environment` with oneDNN on where that is faster, and TensorFlow's memory pool where oneDNN is off.

    What a user has set stays; an empty value counts as none. What was set here before is decided again.
    """
    text, ours = _read(cpuinfo), environment.get(SET_BY_US, "").split()
    found = {name: value for name, value in environment.items() if name != SET_BY_US}
    for name in (VARIABLE, ALLOCATOR):
        if not found.get(name) or f"{name}={found[name]}" in ours:
            found.pop(name, None)
    added = {}
    if VARIABLE not in found and needs_onednn(text):
        added[VARIABLE] = "1"
    if ALLOCATOR not in found and {**found, **added}.get(VARIABLE, tensorflows_choice(text)) == "0":
        added[ALLOCATOR] = "1"
    if added:
        added[SET_BY_US] = " ".join(f"{name}={value}" for name, value in added.items())
    return found | added


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


def chosen(name: str = VARIABLE) -> str:
    """Return who has decided on a variable: "TensorFlow's choice", "set by scarlet_tf" or "set by you"."""
    value = os.environ.get(name)
    if not value:
        return "TensorFlow's choice"
    return "set by scarlet_tf" if f"{name}={value}" in os.environ.get(SET_BY_US, "").split() else "set by you"


def in_words() -> str:
    """Return a line for logs."""
    value = onednn_setting()
    state = {"1": "on, ", "0": "off, ", None: ""}[value]
    said = f"oneDNN: {state}{chosen()} ({VARIABLE}{f'={value}' if value else ' is not set'})"
    return "; ".join(filter(None, [said, allocator_in_words()]))


def allocator_in_words() -> str:
    """Return who has decided where tensors lie, "" if nobody has."""
    value = os.environ.get(ALLOCATOR)
    return f"memory of tensors: {chosen(ALLOCATOR)} ({ALLOCATOR}={value})" if value else ""


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
