"""The zoo without Keras: the published networks as rows of a table, and the registered ones in a folder.

A row holds architecture, scaling, and the authors' figures with the source. The folder is the one that the environment variable
SCARLET_ZOO_DIR names, else ~/.scarlet/zoo; it has a JSON file for each network, and its weights. A registered network is a
copy: it stays when the run that it came from is deleted.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import atomic_writer, file_name, read_json, write_json
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.scaling import EFFICIENTNET, Coefficients, scale
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import NetworkSpec


@dataclasses.dataclass(frozen=True)
class Published:
    """Published figures of a network: costs, ImageNet accuracies in percent, and their source. None: not stated."""

    multiply_adds: float | None
    params: float | None
    top1: float
    top5: float | None
    source: str


@dataclasses.dataclass(frozen=True)
class ZooEntry:
    """One published network.

    constructor: its name in scarlet_tf; make_space: makes its space, at the first use, so that names alone are quick to list;
    encoding: the choices in the space, which `scaling` then enlarges; reading: the part
    that nobody published, so that it is ours; note: a further remark on the figures.
    """

    constructor: str
    title: str
    make_space: Callable[[], SearchSpace]
    encoding: str
    published: Published
    scaling: Coefficients = EFFICIENTNET["b0"]
    reading: str = ""
    note: str = ""

    @property
    def space(self) -> SearchSpace:
        """The space that it is in, before scaling."""
        return self.make_space()

    @property
    def searched(self) -> Architecture:
        """The encoding in its space, before scaling."""
        return Architecture.parse(self.encoding, self.space)

    @property
    def architecture(self) -> Architecture:
        """The network itself; its space's input_size is the size of its images."""
        wanted = self.scaling
        return scale(self.searched, wanted.width_multiplier, wanted.depth_multiplier, input_size=wanted.input_size)


@functools.cache
def _s1() -> SearchSpace:
    return SearchSpace.from_name("s1", activation="relu6")


@functools.cache
def _s2() -> SearchSpace:
    return SearchSpace.from_name("s2")


@functools.cache
def _mobilenet_v2() -> SearchSpace:
    # Its stem with the first bottleneck (expansion 1, 16 channels) is the stem of every network here.
    rows = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
    return SearchSpace("mobilenet_v2", tuple(Stage(*row) for row in rows), (Choice(6, 3),), activation="relu6")


_SCARLET = "SCARLET-NAS (arXiv 1908.06022, 2019), table 3"
_SCARLET_SCALED = "SCARLET-NAS (arXiv 1908.06022v3, 2019), abstract"
_FAIRNAS = "FairNAS (arXiv 1907.01845), table 2"
_SCARLET_A = "4,8,2,5,7,3,7,0,5,4,2,5,0,5,7,9,1,7,11"
_HAND_SCALED = (
    "the authors scaled SCARLET-A by hand and published no recipe; here it has the coefficients of EfficientNet-{}, and"
    " scale_depth's choices in the added layers"
)

ZOO: dict[str, ZooEntry] = {
    "scarlet_a": ZooEntry("ScarletA", "SCARLET-A", _s2, _SCARLET_A, Published(365e6, 6.7e6, 76.9, 93.4, _SCARLET)),
    "scarlet_b": ZooEntry(
        "ScarletB",
        "SCARLET-B",
        _s2,
        "1,3,1,11,0,2,11,1,12,2,1,1,11,1,9,9,12,11,9",
        Published(329e6, 6.5e6, 76.3, 93.0, _SCARLET),
        note="the published table says 329 M multiply-adds, the published code counts to 327 M; the gap is unexplained",
    ),
    "scarlet_c": ZooEntry(
        "ScarletC",
        "SCARLET-C",
        _s2,
        "3,1,3,12,12,0,11,1,1,2,5,4,1,5,1,12,7,11,9",
        Published(280e6, 6.0e6, 75.6, 92.6, _SCARLET),
    ),
    "scarlet_a2": ZooEntry(
        "ScarletA2",
        "SCARLET-A2",
        _s2,
        _SCARLET_A,
        Published(None, None, 79.5, None, _SCARLET_SCALED),
        EFFICIENTNET["b2"],
        reading=_HAND_SCALED.format("B2"),
    ),
    "scarlet_a4": ZooEntry(
        "ScarletA4",
        "SCARLET-A4",
        _s2,
        _SCARLET_A,
        Published(4.2e9, 27.8e6, 82.3, None, f"{_SCARLET_SCALED}; its costs: Papers with Code, ImageNet"),
        EFFICIENTNET["b4"],
        reading=_HAND_SCALED.format("B4"),
        note="Papers with Code lists 27.8 M params and 8.4 GFLOPs, which count two a multiply-add: its rows of SCARLET-B and"
        " SCARLET-C say 0.658 and 0.560",
    ),
    "fairnas_a": ZooEntry(
        "FairNASA",
        "FairNAS-A",
        _s1,
        "2,0,2,3,5,0,0,5,5,1,3,1,1,3,3,5,3,5,4",
        Published(388e6, 4.6e6, 75.3, 92.4, _FAIRNAS),
    ),
    "fairnas_b": ZooEntry(
        "FairNASB",
        "FairNAS-B",
        _s1,
        "1,0,1,0,3,1,2,0,3,1,0,3,2,0,5,4,5,3,4",
        Published(345e6, 4.5e6, 75.1, 92.3, _FAIRNAS),
    ),
    "fairnas_c": ZooEntry(
        "FairNASC",
        "FairNAS-C",
        _s1,
        "1,0,2,0,0,0,0,0,0,3,0,0,0,0,5,5,3,3,4",
        Published(321e6, 4.4e6, 74.7, 92.1, _FAIRNAS),
    ),
    "mobilenet_v2": ZooEntry(
        "MobileNetV2",
        "MobileNetV2",
        _mobilenet_v2,
        ",".join("0" * 16),
        Published(
            300e6, 3.4e6, 72.0, 91.0, "MobileNetV2 (arXiv 1801.04381, 2018), table 4; its top-5: FairNAS, table 2"
        ),
        note="symmetric padding and BN epsilon 1e-5, as all networks here; keras.applications has others",
    ),
}


FOLDER_VARIABLE = "SCARLET_ZOO_DIR"
ENTRY_VERSION = 1
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclasses.dataclass(frozen=True)
class OwnEntry:
    """One registered network: its structure, its weights if it has any, and its origin.

    `origin` has plain JSON types: {"run", "space", "architecture", "init", "scaling", "dataset", "test_examples", "top1",
    "one_shot_accuracy", "preprocessing", "labels"}; accuracies in percent, None where unknown. Fine-tuning reads `source`:
    {"space": its fields, "data": the preparation of its images, "result": of its training}; None without weights.
    """

    name: str
    spec: NetworkSpec
    has_weights: bool
    origin: Mapping[str, Any]
    source: Mapping[str, Any] | None = None

    @property
    def weights_file(self) -> pathlib.Path:
        """Path of its weights, a `.keras` file, if it has any."""
        return _path(self.name, ".keras")

    def at(self, input_size: int | None = None, num_classes: int | None = None) -> NetworkSpec:
        """The network for square images of another size and for other classes; None keeps what it has."""
        shape = self.spec.input_shape
        return self.spec.replace(
            input_shape=shape if input_size is None else (input_size, input_size, shape[2]),
            num_classes=self.spec.num_classes if num_classes is None else num_classes,
        )


def zoo_folder() -> pathlib.Path:
    """The folder of registered networks, which need not exist."""
    return pathlib.Path(os.environ.get(FOLDER_VARIABLE) or pathlib.Path.home() / ".scarlet" / "zoo")


def zoo_names() -> list[str]:
    """The names of the published networks, then of the registered ones."""
    return [*ZOO, *own_names()]


def own_names() -> list[str]:
    """The names of the registered networks, in alphabetical order."""
    return sorted(path.stem for path in zoo_folder().glob("*.json") if _NAME.fullmatch(path.stem))


def find_own(name: str) -> OwnEntry | None:
    """The registered network of that name; InputError if its file is damaged or of another version."""
    if not _NAME.fullmatch(name) or not _path(name, ".json").exists():
        return None
    path = _path(name, ".json")
    found = read_json(path)
    version = found.get("version") if isinstance(found, Mapping) else None
    if version != ENTRY_VERSION:
        raise InputError(f"{path}: version: expected {ENTRY_VERSION}, got {version!r}")
    try:
        spec = NetworkSpec.from_dict(found["spec"])
        return OwnEntry(name, spec, bool(found["has_weights"]), found["origin"], found.get("source"))
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: expected a network's entry: {type(error).__name__}: {error}") from error


def add_own(
    name: str,
    spec: NetworkSpec,
    origin: Mapping[str, Any],
    weights: pathlib.Path | None = None,
    source: Mapping[str, Any] | None = None,
) -> OwnEntry:
    """Write a network into the folder, with a copy of `weights` (a `.keras` file); InputError if the name is taken or bad."""
    check_new_name(name)
    if weights is not None:
        with atomic_writer(_path(name, ".keras")) as file:
            file.write(weights.read_bytes())
    entry = OwnEntry(name, spec, weights is not None, origin, source)
    content = {
        "version": ENTRY_VERSION,
        "spec": spec.to_dict(),
        "has_weights": entry.has_weights,
        "origin": dict(origin),
        "source": source,
    }
    write_json(_path(name, ".json"), content)  # last: this file makes the network exist
    return entry


def check_new_name(name: str) -> None:
    """Raise InputError unless `name` can be that of a further network."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"name: expected small letters, digits, _ and - after a letter, got {name!r}")
    if file_name(name) != name:
        raise InputError(f"name: {name} is no name of a file on Windows; expected another one")
    if name in ZOO:
        raise InputError(f"name: {name} is a published network; expected another one")
    if _path(name, ".json").exists():
        raise InputError(f"name: {name} is in {zoo_folder()} already; remove it first: scarlet zoo {name} --remove")


def remove_own(name: str) -> None:
    """Delete a registered network, even if its file is damaged; InputError if there is none of that name."""
    if name not in own_names():
        raise InputError(f"{name}: expected a network of your own, {', '.join(own_names()) or 'there are none'}")
    _path(name, ".json").unlink()
    _path(name, ".keras").unlink(missing_ok=True)


def _path(name: str, suffix: str) -> pathlib.Path:
    return zoo_folder() / f"{name}{suffix}"
