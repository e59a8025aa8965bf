"""Parents from checkpoint files of published networks, in PyTorch's formats."""

from __future__ import annotations

import pathlib

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.torch_weights import inference_tensors, misfits, read_state_dict
from scarlet_tf.parents.layouts import layers, to_arrays
from scarlet_tf.parents.parent import Parent
from scarlet_tf.parents.published import PUBLISHED


def from_checkpoint(path, model: str, name: str | None = None) -> Parent:
    """The parent in a checkpoint of the published network `model`; InputError lists tensors that do not fit."""
    path = pathlib.Path(path)
    state = inference_tensors(read_state_dict(path))
    published = PUBLISHED[model]
    spec, found = layers(published, 1000)
    if problems := misfits(state, {key: shape for layer in found for _, key, shape in layer.tensors()}):
        raise InputError(f"{path}: expected {model}: {problems}")
    return Parent(name or path.stem, spec, to_arrays(state, found), published.preprocessing, f"{model}, {path.name}")
