"""Parents out of PyTorch's checkpoints of published networks."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence

from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.torch_weights import StateDict, inference_tensors, misfits, read_state_dict
from scarlet_tf.parents.layouts import LAYOUTS, Layer, layers, num_classes, to_arrays, without_head
from scarlet_tf.parents.parent import Parent
from scarlet_tf.parents.published import PUBLISHED, Published
from scarlet_tf.space.spec import NetworkSpec

ENDINGS = (".pth", ".pt", ".pth.tar", ".pt.tar", ".safetensors", ".npz")


def from_checkpoint(path, model: str | None = None, preprocessing: Preprocessing | None = None) -> Parent:
    """The parent in a checkpoint of a published network; see `Parent.from_file`."""
    path = pathlib.Path(path)
    state = inference_tensors(read_state_dict(path))
    published = _identify(path, state, _named(path, state, model), model is not None)
    spec, found = _layers(published, state)
    images = preprocessing or published.preprocessing
    spec = spec.replace(input_shape=(images.image_size, images.image_size, 3))
    state = without_head(published, state) if spec.num_classes is None else state
    return Parent(
        published.name, spec, to_arrays(state, found), images, f"{path.name}, a checkpoint of {published.name}"
    )


def _layers(model: Published, state: StateDict) -> tuple[NetworkSpec, list[Layer]]:
    return layers(model, num_classes(model, state))


def _named(path: pathlib.Path, state: StateDict, name: str | None) -> list[Published]:
    """The networks of that name, or all with the layout that the tensors have."""
    known = [model for model in PUBLISHED if LAYOUTS[model.layout].first_key in state]
    if name is None:
        if not known:
            raise InputError(
                f"{path}: expected a checkpoint of a published network of timm, torchvision or EfficientNet-PyTorch, got the"
                f" tensors {', '.join(list(state)[:5])}"
            )
        return known
    named = [model for model in PUBLISHED if model.name == name]
    if not named:
        names = sorted({model.name for model in PUBLISHED})
        raise InputError(f"model: expected one of {', '.join(names)}, got {name!r}{nearest(name, names)}")
    return [model for model in named if model in known] or named


def _identify(path: pathlib.Path, state: StateDict, known: Sequence[Published], is_named: bool) -> Published:
    """The one network that the tensors fit; where several do, the one that the file's name has."""
    shapes = {model: _shapes(model, state) for model in known}
    tensors = {key: array.shape for key, array in state.items()}
    problems = {model: misfits(_used(model, state), shapes[model]) for model in known}
    fitting = [model for model in known if not problems[model]]
    if not fitting:
        closest = min(known, key=lambda model: len(shapes[model].items() ^ tensors.items()))
        what = f"expected {closest.name}" if is_named else f"fits no published network; the closest is {closest.name}"
        raise InputError(f"{path}: {what}: {problems[closest]}")
    if len(fitting) == 1:
        return fitting[0]
    for part in reversed(path.resolve().parts):
        named = [model for model in fitting if re.search(rf"(?<![a-z0-9_]){model.name}(?!\d)", part)]
        if len(named) == 1:
            return named[0]
    names = [model.name for model in fitting]
    raise InputError(
        f"{path}: the tensors fit {' and '.join(names)}, which differ in padding, BN epsilon or images; state which, as in"
        f" Parent.from_file(path, model={names[-1]!r}), or keep it in the file's name"
    )


def _used(model: Published, state: StateDict) -> StateDict:
    return without_head(model, state) if num_classes(model, state) is None else state


def _shapes(model: Published, state: StateDict) -> dict[str, tuple[int, ...]]:
    _, found = _layers(model, state)
    return {key: shape for layer in found for _, key, shape in layer.tensors()}
