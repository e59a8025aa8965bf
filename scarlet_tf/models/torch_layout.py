"""Mapping between a network's weights and the state dicts of the authors' PyTorch code.

Source: the modules of the published evaluation code (xiaomi-automl, SCARLET-NAS and FairNAS). A block's number is its
layer's, so a skipped layer keeps its number and has no entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.models.network import Arrays

StateDict = dict[str, np.ndarray]
"""Arrays under PyTorch's keys, axes in PyTorch's order."""

_MODULES = {
    "stem_conv": "stem.0",
    "stem_conv_bn": "stem.1",
    "stem_depthwise": "separable_conv.0",
    "stem_depthwise_bn": "separable_conv.1",
    "stem_project": "separable_conv.3",
    "stem_project_bn": "separable_conv.4",
    "tail_conv": "conv_before_pooling.0",
    "tail_conv_bn": "conv_before_pooling.1",
    "classifier": "classifier",
}
_BLOCK_MODULES = {
    "expand": "conv1",
    "expand_bn": "bn1",
    "depthwise": "conv2",
    "depthwise_bn": "bn2",
    "se_squeeze": "mid_se.squeeze_conv",
    "se_excite": "mid_se.excite_conv",
    "project": "conv3",
    "project_bn": "bn3",
}
_WEIGHTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_COUNTER = ".num_batches_tracked"  # the number of batches that a BN has seen in training; inference does not read it
_SHOWN = 5


def torch_key(name: str) -> str | None:
    """The key of our weight `name`, such as "block_03_expand/kernel"; None if the layout has no place for it."""
    layer, _, weight = name.partition("/")
    module = _MODULES.get(layer)
    if match := re.fullmatch(r"block_(\d+)_(\w+)", layer):
        part = _BLOCK_MODULES.get(match[2])
        module = part and f"mb_module.{int(match[1])}.{part}"
    return f"{module}.{_WEIGHTS[weight]}" if module and weight in _WEIGHTS else None


def to_state_dict(arrays: Arrays) -> StateDict:
    """Our arrays as a state dict that PyTorch loads with strict=True; all of them must have a `torch_key`."""
    state: StateDict = {}
    for name, array in arrays.items():
        key = torch_key(name)
        assert key is not None, name
        state[key] = np.ascontiguousarray(array.transpose(_axes(name, array.ndim)))
        if key.endswith(".running_var"):
            state[key.removesuffix(".running_var") + _COUNTER] = np.zeros((), np.int64)
    return state


def from_state_dict(state: Mapping[str, np.ndarray], arrays: Arrays, what: str) -> Arrays:
    """The arrays of a state dict under the names of `arrays`, with their shapes and types; inverse of `to_state_dict`.

    A prefix "module." that all keys have is dropped, and FairNAS' "classifier.1" is the classifier. Raises InputError,
    which begins with `what`, unless every entry is used exactly once; it lists what is missing, unexpected or of the
    wrong shape.
    """
    state = {key: array for key, array in _without_prefixes(state).items() if not key.endswith(_COUNTER)}
    names = {key: name for name in arrays if (key := torch_key(name)) is not None}
    _check(state, {key: _torch_shape(name, arrays[name]) for key, name in names.items()}, what)
    loaded = {}
    for key, name in names.items():
        back = np.argsort(_axes(name, arrays[name].ndim))
        loaded[name] = state[key].transpose(back).astype(arrays[name].dtype)
    return loaded


def _without_prefixes(state: Mapping[str, np.ndarray]) -> StateDict:
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    state = {key.removeprefix(prefix): array for key, array in state.items()}
    for weight in ("weight", "bias"):
        # FairNAS' classifier follows a dropout layer, and so has the index 1.
        if f"classifier.1.{weight}" in state and f"classifier.{weight}" not in state:
            state[f"classifier.{weight}"] = state.pop(f"classifier.1.{weight}")
    return state


def _axes(name: str, ndim: int) -> tuple[int, ...]:
    """PyTorch's axes in ours: [kh, kw, in, out] -> [out, in, kh, kw], [kh, kw, c, 1] -> [c, 1, kh, kw], [in, out]."""
    if ndim == 4:
        return (2, 3, 0, 1) if "_depthwise/" in name else (3, 2, 0, 1)
    return tuple(reversed(range(ndim)))


def _torch_shape(name: str, array: np.ndarray) -> tuple[int, ...]:
    return tuple(array.shape[axis] for axis in _axes(name, array.ndim))


def _check(state: StateDict, shapes: dict[str, tuple[int, ...]], what: str) -> None:
    problems = {
        "missing": [key for key in shapes if key not in state],
        "unexpected": [key for key in state if key not in shapes],
        "of the wrong shape": [
            f"{key} (expected {shapes[key]}, got {array.shape})"
            for key, array in state.items()
            if key in shapes and array.shape != shapes[key]
        ],
        "not of floating point": [
            f"{key} ({array.dtype})" for key, array in state.items() if key in shapes and array.dtype.kind != "f"
        ],
    }
    found = [f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in problems.items() if keys]
    if found:
        raise InputError(f"{what}: {'; '.join(found)}")


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
