"""Images in class folders, with or without train/, validation/ (or val/) and test/ above them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.decoding import decode
from scarlet_tf.data.images import FileImages, in_memory
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.sources import DATA_DIR_VARIABLE, SourceData, file_identities, find_directory, fingerprint
from scarlet_tf.data.splits import IndexedSplit
from scarlet_tf.errors import InputError
from scarlet_tf.progress import progress_bar

logger = logging.getLogger("scarlet_tf")
# Suffixes of image files; some of them TensorFlow cannot decode, and the user is told which.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".ppm")
)
LARGEST_SKIPPED_SHARE = 0.01
_EMPTY = np.zeros([0, 0, 3], np.uint8)
_SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True)
class _Files:
    """Files of one split; `decoded` holds their pixels where there is room, `skipped` names what is left out."""

    paths: list[pathlib.Path]
    labels: list[int]
    decoded: list[np.ndarray] | None
    skipped: list[str]


def load(config: DataConfig, preprocessing: Preprocessing) -> SourceData:
    """Reads the folder's structure and, unless `config.check_images` is off, decodes every image once."""
    root = find_directory(str(config.directory))
    if not root.is_dir():
        raise InputError(
            f"data.directory: expected a folder of class folders, got {config.directory!r}, which is none"
            f" (relative paths are also looked up under ${DATA_DIR_VARIABLE})"
        )
    folders = _split_folders(root)
    class_names = _class_names(folders)
    splits, parts, skipped = {}, list(class_names), []
    for name, folder in folders.items():
        files = _read(folder, class_names, config)
        skipped += [str(folder / path) for path in files.skipped]
        images = in_memory(files.decoded) if files.decoded else FileImages([str(path) for path in files.paths])
        splits[name] = IndexedSplit(images, np.arange(len(files.labels)), np.asarray(files.labels), preprocessing)
        identities = zip(files.paths, file_identities(files.paths), strict=True)
        parts += [name, *(f"{path.relative_to(folder).as_posix()} {identity}" for path, identity in identities)]
    return SourceData(config.name or root.name, class_names, splits, fingerprint(parts), tuple(skipped))


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
        raise InputError(f"{train}: expected at least two class folders, got {list(expected)}")
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


def _read(folder: pathlib.Path, class_names: Sequence[str], config: DataConfig) -> _Files:
    paths, labels = [], []
    for label, name in enumerate(class_names):
        found = sorted(path for path in (folder / name).rglob("*") if path.is_file() and _is_image(path))
        if not found:
            raise InputError(f"{folder / name}: expected images in this class folder, got none")
        paths += found
        labels += [label] * len(found)
    files = _check(folder, paths, labels, config)
    _refuse_or_warn(folder, files, len(paths))
    return files


def _is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _check(folder: pathlib.Path, paths: list[pathlib.Path], labels: list[int], config: DataConfig) -> _Files:
    """Decodes every file and keeps the pixels while there is room; without `check_images` looks for empty files only."""
    decoded: list[np.ndarray] = []
    files = _Files([], [], decoded, [])
    room = config.memory_bytes if config.check_images else -1
    images = _decode_all(paths) if config.check_images else (_EMPTY if path.stat().st_size else None for path in paths)
    with progress_bar(f"checking {folder.name}", len(paths)) as bar:
        for path, label, image in zip(paths, labels, images, strict=True):
            bar.advance()
            if image is None:
                files.skipped.append(path.relative_to(folder).as_posix())
                continue
            files.paths.append(path)
            files.labels.append(label)
            room -= image.size
            if room >= 0:
                decoded.append(image)
            else:
                decoded.clear()
    return files if room >= 0 else dataclasses.replace(files, decoded=None)


def _decode_all(paths: Sequence[pathlib.Path]) -> Iterator[np.ndarray | None]:
    """uint8 [H, W, 3], or None where that is impossible, of each file, in order, a few files ahead in threads."""
    workers = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), 16 * workers):
            yield from pool.map(_decode_file, paths[start : start + 16 * workers])


def _decode_file(path: pathlib.Path) -> np.ndarray | None:
    try:
        return decode(tf.constant(path.read_bytes())).numpy()
    except (OSError, tf.errors.OpError):
        return None


def _refuse_or_warn(folder: pathlib.Path, files: _Files, num_files: int) -> None:
    if not files.skipped:
        return
    few = ", ".join(files.skipped[:5]) + (", ..." if len(files.skipped) > 5 else "")
    if len(files.skipped) > LARGEST_SKIPPED_SHARE * num_files:
        raise InputError(
            f"{folder}: {len(files.skipped)} of {num_files} images cannot be decoded (JPEG, PNG, GIF and BMP can):"
            f" {few}; expected at most {LARGEST_SKIPPED_SHARE:.0%}"
        )
    logger.warning("%s: skipped %d images that cannot be decoded: %s", folder, len(files.skipped), few)
