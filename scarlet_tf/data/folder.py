"""Images in class folders: decoded and checked."""

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
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.data.folder_files import SplitFiles, list_files
from scarlet_tf.data.images import FileImages, in_memory
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.sources import SourceData, file_identities, fingerprint
from scarlet_tf.data.splits import IndexedSplit
from scarlet_tf.errors import InputError
from scarlet_tf.progress import progress_bar

logger = logging.getLogger("scarlet_tf")
LARGEST_SKIPPED_SHARE = 0.01
_EMPTY = np.zeros([0, 0, 3], np.uint8)


@dataclasses.dataclass(frozen=True)
class _Files:
    """Files of one split; `decoded` holds their pixels where there is room, `skipped` names what is left out."""

    paths: list[pathlib.Path]
    labels: list[int]
    decoded: list[np.ndarray] | None
    skipped: list[str]


def load(config: DataConfig, preprocessing: Preprocessing) -> SourceData:
    """Reads the folder's structure and, unless `config.check_images` is off, decodes every image once."""
    listed = list_files(str(config.directory))
    splits, parts, skipped = {}, list(listed.class_names), []
    for name, found in listed.splits.items():
        folder, files = found.folder, _check(found, config)
        _refuse_or_warn(folder, files, len(found.paths))
        skipped += [str(folder / path) for path in files.skipped]
        images = in_memory(files.decoded) if files.decoded else FileImages([str(path) for path in files.paths])
        splits[name] = IndexedSplit(images, np.arange(len(files.labels)), np.asarray(files.labels), preprocessing)
        identities = zip(files.paths, file_identities(files.paths), strict=True)
        parts += [name, *(f"{path.relative_to(folder).as_posix()} {identity}" for path, identity in identities)]
    name = config.name or listed.root.name
    return SourceData(name, listed.class_names, splits, fingerprint(parts), tuple(skipped))


def look(config: DataConfig, num_images: int) -> DatasetFacts:
    """What can be seen without decoding more than `num_images` of the training files, spread evenly over them."""
    listed = list_files(str(config.directory))
    train = listed.splits["train"]
    chosen = np.unique(np.linspace(0, len(train.paths) - 1, num_images).astype(int))
    paths = [train.paths[i] for i in chosen]
    images = list(_decode_all(paths))
    return DatasetFacts(
        config.name or listed.root.name,
        listed.class_names,
        {name: len(files.paths) for name, files in listed.splits.items()},
        np.bincount(train.labels, minlength=len(listed.class_names)),
        tuple(image.shape[:2] for image in images if image is not None),
        tuple(str(path) for path, image in zip(paths, images, strict=True) if image is None),
    )


def _check(listed: SplitFiles, config: DataConfig) -> _Files:
    """Decodes every file and keeps the pixels while there is room; without `check_images` looks for empty files only."""
    folder, paths, labels = listed.folder, listed.paths, listed.labels
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
