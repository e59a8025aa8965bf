"""The files of a dataset in class folders, with or without train/, validation/ (or val/) and test/ above them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from scarlet_tf.data.sources import DATA_DIR_VARIABLE, find_directory
from scarlet_tf.errors import InputError

# Suffixes of image files; some of them TensorFlow cannot decode, and the user is told which.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".ppm")
)
_SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True)
class SplitFiles:
    """Image files of one split, by class and name, with their labels; `folder` is what their names are told from."""

    folder: pathlib.Path
    paths: list[pathlib.Path]
    labels: list[int]


@dataclasses.dataclass(frozen=True)
class FolderFiles:
    """A dataset's folder, its classes and its splits: "train" always, "validation" and "test" where it has them."""

    root: pathlib.Path
    class_names: tuple[str, ...]
    splits: dict[str, SplitFiles]


def list_files(directory: str) -> FolderFiles:
    """Lists the folder, also looked for under $SCARLET_DATA_DIR; InputError for what is no dataset in class folders."""
    root = find_directory(directory)
    if not root.is_dir():
        raise InputError(
            f"data.directory: expected a folder of class folders, got {directory!r}, which is none"
            f" (relative paths are also looked up under ${DATA_DIR_VARIABLE})"
        )
    folders = _split_folders(root)
    class_names = _class_names(folders)
    return FolderFiles(root, class_names, {name: _list(folder, class_names) for name, folder in folders.items()})


def _split_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Split name to folder; the root itself is the training split where it has no train/ folder."""
    names = {path.name.lower(): path for path in _visible_folders(root)}
    if "train" not in names:
        return {"train": root}
    found = {}
    for name, split in _SPLIT_FOLDERS.items():
        if name in names and split in found:
            raise InputError(f"{root}: expected one folder of validation images, got both validation/ and val/")
        if name in names:
            found[split] = names[name]
    return found


def _class_names(folders: dict[str, pathlib.Path]) -> tuple[str, ...]:
    """Sorted names of the class folders, which must be the same in every split."""
    train = folders["train"]
    expected = tuple(sorted(path.name for path in _visible_folders(train)))
    if len(expected) < 2:
        raise InputError(
            f"{train}: expected at least two class folders, got {list(expected)}; put the images of each class into a"
            f" folder of its own, such as {train}/cat/1.jpg and {train}/dog/1.jpg"
        )
    for folder in folders.values():
        names = {path.name for path in _visible_folders(folder)}
        if names != set(expected):
            missing, extra = sorted(set(expected) - names), sorted(names - set(expected))
            raise InputError(
                f"{folder}: expected the {len(expected)} class folders of {train}, got {len(names)};"
                f" missing {missing[:5]}, unknown {extra[:5]}"
            )
    return expected


def _visible_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _list(folder: pathlib.Path, class_names: Sequence[str]) -> SplitFiles:
    paths, labels, empty = [], [], []
    for label, name in enumerate(class_names):
        found = (path for path in (folder / name).rglob("*") if path.is_file() and _is_image(path))
        files = sorted(found, key=lambda path: path.parts)  # paths themselves are in another order on Windows
        if not files:
            empty.append(name)
        paths += files
        labels += [label] * len(files)
    if empty:
        others = f", nor in {', '.join(empty[1:6])}" if len(empty) > 1 else ""
        raise InputError(
            f"{folder / empty[0]}: expected images in this class folder, got none{others}; add images or remove the folder"
        )
    return SplitFiles(folder, paths, labels)


def _is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
