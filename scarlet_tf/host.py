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

from scarlet_tf.errors import InputError

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
        remedy = "call keras.config.set_dtype_policy('float32'); supernet.precision is for mixed precision"
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
