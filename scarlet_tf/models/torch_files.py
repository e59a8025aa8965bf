"""Reader and writer of state dicts, {key: array}, in the files that PyTorch's users exchange."""

from __future__ import annotations

import importlib
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.files import atomic_writer

# Keys under which a checkpoint may hold its state dict, unless it is the state dict. The authors use the first one.
_NESTS = ("model_state", "state_dict", "model")


def read_state_dict(path) -> dict[str, np.ndarray]:
    """The arrays of a `.pth`, `.pt`, `.pth.tar`, `.pt.tar`, `.safetensors` or `.npz` file.

    PyTorch's files are read with `weights_only`, so nothing in them is executed. Raises InputError for a file that is
    missing, damaged or of another kind, and if the package that reads it is not installed.
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
    torch = _package("torch", path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch, pickle and ZIP raise for a damaged or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: expected a PyTorch checkpoint of tensors and plain values: {reason}") from error
    state = _unnested(state)
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        got = f"the keys {list(state)[:5]}" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise InputError(f"{path}: expected a state dict of tensors, alone or under one of {list(_NESTS)}, got {got}")
    return {str(key): _to_numpy(tensor) for key, tensor in state.items()}


def _unnested(checkpoint):
    if isinstance(checkpoint, Mapping):
        for key in _NESTS:
            if isinstance(checkpoint.get(key), Mapping):
                return checkpoint[key]
    return checkpoint


def _to_numpy(tensor) -> np.ndarray:
    """The tensor as an array; floating types become float32, since NumPy has no bfloat16."""
    return (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()


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
        raise InputError(f"{path}: needs the package {name}: pip install 'scarlet_tf[torch]' ({error})") from error
