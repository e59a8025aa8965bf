"""Weights in the state dicts of the authors' PyTorch code, and the files that hold these.

Source: the modules of the published evaluation code (xiaomi-automl, SCARLET-NAS and FairNAS). A block's number is its
layer's, so a skipped layer keeps its number and has no entry.
"""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import atomic_writer
from scarlet_tf.models.network import Arrays, Network, get_arrays, set_arrays
from scarlet_tf.models.torch_files import Tensor, read_checkpoint
from scarlet_tf.space.spec import PYTORCH, InvertedResidualSpec

_FIRST = "stem_conv/kernel"


def load_torch_weights(model: keras.Model, path, skip_classifier: bool = False) -> None:
    """Load the weights of a PyTorch checkpoint of the same network into `model`.

    Args:
        model: a Network, or a published network built on an `input_tensor`; with LETs folded.
        path: `.pth`, `.pt`, `.pth.tar`, `.pt.tar`, `.safetensors` (the extra "pretrained") or `.npz`. PyTorch's
            files may hold the state dict under "model_state", as the authors' do, "state_dict" or "model".
        skip_classifier: leave the checkpoint's classifier out; the model's, if it has one, is unchanged.

    The authors' evaluation code scales images by ImageNet's mean and deviation: `normalization: imagenet`, not "-1..1".

    Raises InputError, with the model unchanged, unless every tensor of the file and of the model is used exactly once
    (but for BN's `num_batches_tracked`); it lists what is missing, unexpected or of the wrong shape.
    """
    arrays, state = _arrays(model), read_state_dict(path)
    if skip_classifier:
        arrays = {name: array for name, array in arrays.items() if not name.startswith("classifier/")}
        state = {key: array for key, array in state.items() if "classifier" not in key.split(".")}
    headless = not skip_classifier and "classifier/kernel" not in arrays
    what = f"{path}: does not fit {model.name}" + (
        ", which has no classifier (see skip_classifier)" if headless else ""
    )
    loaded = from_state_dict(state, arrays, what)
    set_arrays(model, get_arrays(model) | loaded)


def save_torch_weights(model: keras.Model, path) -> None:
    """Write the weights of `model` for the authors' PyTorch code, atomically; inverse of `load_torch_weights`.

    The ending of `path` selects the format; a `.pth.tar` file holds the state dict under "model_state", where the
    authors' evaluation code looks for it. BN's `num_batches_tracked` are written as 0. Raises InputError for a network
    that the layout cannot express. FairNAS' own code calls the classifier "classifier.1", which is not written.
    """
    write_state_dict(path, to_state_dict(_arrays(model)))


def _arrays(model: keras.Model) -> Arrays:
    """The network's weights; layers in front of its stem belong to the maker of the `input_tensor`."""
    arrays = get_arrays(model) if isinstance(model, keras.Model) else {}
    if _FIRST not in arrays:
        raise InputError(
            f"{getattr(model, 'name', model)}: expected a network of this package, with the layer stem_conv"
        )
    if isinstance(model, Network):
        _check_layout(model)
    names = list(arrays)
    arrays = {name: arrays[name] for name in names[names.index(_FIRST) :]}
    for name in arrays:
        if torch_key(name) is None:
            advice = "; fold the LETs first" if "_let/" in name else ""
            raise InputError(f"{model.name}: {name}: the layout of the PyTorch networks has no place for it{advice}")
    return arrays


def _check_layout(network: Network) -> None:
    """The authors' networks have PyTorch's conventions, and their blocks add their input wherever shapes allow.

    Folding can leave one here that does not.
    """
    if network.spec.conventions != dataclasses.replace(PYTORCH, bn_momentum=network.spec.conventions.bn_momentum):
        raise InputError(
            f"{network.name}: expected padding and BN epsilon of {PYTORCH}, got {network.spec.conventions}"
        )
    for block in network.spec.blocks:
        if not isinstance(block, InvertedResidualSpec):
            continue
        if block.residual != (block.stride == 1 and block.in_channels == block.out_channels):
            raise InputError(
                f"{network.name}: {block.name}: a PyTorch block of its shape has a shortcut, this one has none"
            )


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
    state = inference_tensors(state)
    for weight in ("weight", "bias"):
        # FairNAS' classifier follows a dropout layer, and so has the index 1.
        if f"classifier.1.{weight}" in state and f"classifier.{weight}" not in state:
            state[f"classifier.{weight}"] = state.pop(f"classifier.1.{weight}")
    names = {key: name for name in arrays if (key := torch_key(name)) is not None}
    shapes = {
        key: tuple(arrays[name].shape[axis] for axis in _axes(name, arrays[name].ndim)) for key, name in names.items()
    }
    if problems := misfits(state, shapes):
        raise InputError(f"{what}: {problems}")
    return {name: to_keras(name, state[key]).astype(arrays[name].dtype) for key, name in names.items()}


def inference_tensors(state: Mapping[str, np.ndarray]) -> StateDict:
    """The tensors that inference reads: BN's counters are dropped, and a prefix "module." that all keys have."""
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    return {key.removeprefix(prefix): array for key, array in state.items() if not key.endswith(_COUNTER)}


def to_keras(name: str, array: np.ndarray) -> np.ndarray:
    """PyTorch's tensor of our weight `name`, such as "block_03_expand/kernel", with our axes."""
    return array.transpose(np.argsort(_axes(name, array.ndim)))


def _axes(name: str, ndim: int) -> tuple[int, ...]:
    """PyTorch's axes in ours: [kh, kw, in, out] -> [out, in, kh, kw], [kh, kw, c, 1] -> [c, 1, kh, kw], [in, out]."""
    if ndim == 4:
        return (2, 3, 0, 1) if "_depthwise/" in name else (3, 2, 0, 1)
    return tuple(reversed(range(ndim)))


def misfits(state: StateDict, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Keys that `state` lacks, has too many, or has in another shape than `shapes` or as integers; "" for none."""
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
    return "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in problems.items() if keys)


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")


# Keys under which a checkpoint may hold its state dict, unless it is the state dict. The authors use the first one.
_NESTS = ("model_state", "state_dict", "model")


def read_state_dict(path) -> dict[str, np.ndarray]:
    """The arrays of a `.pth`, `.pt`, `.pth.tar`, `.pt.tar`, `.safetensors` or `.npz` file.

    PyTorch's files are read without PyTorch, and nothing in them is executed. Raises InputError for a file that is
    missing, damaged or of another kind, and if safetensors is not installed for one of its files.
    """
    path = pathlib.Path(path)
    read, _ = _format(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a file of weights, found none")
    return read(path)


def write_state_dict(path, state: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a file of the format that its ending names, atomically; inverse of `read_state_dict`.

    `.pth.tar` and `.pt.tar` files hold the state dict as the authors' do, under "model_state".
    """
    path = pathlib.Path(path)
    _, write = _format(path)
    write(path, state)


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected an archive of numpy.savez: {error}") from error


def _write_npz(path: pathlib.Path, state: Mapping[str, Any]) -> None:
    with atomic_writer(path) as file:
        np.savez(file, **state)


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    safetensors = _package("safetensors.numpy", path)
    try:
        state = safetensors.load_file(path)
    except Exception as error:  # safetensors' own, and its error for types that NumPy lacks
        raise InputError(f"{path}: expected a safetensors file: {error}") from error
    return {key: array.astype(np.float32) if array.dtype.name == "bfloat16" else array for key, array in state.items()}


def _write_safetensors(path: pathlib.Path, state: Mapping[str, np.ndarray]) -> None:
    contents = _package("safetensors.numpy", path).save(dict(state))
    with atomic_writer(path) as file:
        file.write(contents)


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    state = _unnested(read_checkpoint(path))
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        got = f"the keys {list(state)[:5]}" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise InputError(f"{path}: expected a state dict of tensors, alone or under one of {list(_NESTS)}, got {got}")
    return {str(key): tensor.numpy() for key, tensor in state.items()}


def _unnested(checkpoint):
    if isinstance(checkpoint, Mapping):
        for key in _NESTS:
            if isinstance(checkpoint.get(key), Mapping):
                return checkpoint[key]
    return checkpoint


def _write_torch(path: pathlib.Path, state: Mapping[str, np.ndarray]) -> None:
    torch = _package("torch", path)
    tensors = {key: torch.tensor(array) for key, array in state.items()}
    with atomic_writer(path) as file:
        torch.save({_NESTS[0]: tensors} if path.suffix.lower() == ".tar" else tensors, file)


_FORMATS = {
    ".npz": (_read_npz, _write_npz),
    ".safetensors": (_read_safetensors, _write_safetensors),
    ".pth": (_read_torch, _write_torch),
    ".pt": (_read_torch, _write_torch),
    ".pth.tar": (_read_torch, _write_torch),
    ".pt.tar": (_read_torch, _write_torch),
}


def _format(path: pathlib.Path):
    for ending, functions in _FORMATS.items():
        if path.name.lower().endswith(ending):
            return functions
    raise InputError(f"{path}: expected a file name that ends in one of {', '.join(_FORMATS)}")


def _package(module: str, path: pathlib.Path):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        extra = "torch" if name == "torch" else "pretrained"
        raise InputError(f"{path}: needs the package {name}: pip install 'scarlet_tf[{extra}]' ({error})") from error
