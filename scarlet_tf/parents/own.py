"""Parents out of this package's own networks: of run folders, of their files, and of the user's zoo folder."""

from __future__ import annotations

import json
import pathlib
import zipfile
from collections.abc import Mapping

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.yaml_files import read_yaml
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.network import get_arrays, load_network
from scarlet_tf.models.zoo_data import OwnEntry
from scarlet_tf.parents.parent import Parent

_NETWORK = "scarlet_tf>Network"
_IN_RUN = pathlib.Path("retrain", "model.keras")
_KEYS = ("crop_fraction", "normalization")


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
