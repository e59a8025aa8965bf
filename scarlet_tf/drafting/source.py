"""Lookup of the dataset that a command-line argument names."""

from __future__ import annotations

import pathlib

from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.sources import data_root, find_directory, looked_for, newest_version
from scarlet_tf.errors import InputError

TFDS_PREFIX = "tfds:"
_TFDS_FILE = "dataset_info.json"


def data_config(dataset: str) -> DataConfig:
    """The data section for "digits", "tfds:NAME", a prepared TFDS folder, or a folder of class folders.

    A folder is named by its whole path, so that the configuration works from any directory, unless it was found under
    $SCARLET_DATA_DIR. InputError for anything else.
    """
    if dataset == "digits":
        return DataConfig()
    if dataset.startswith(TFDS_PREFIX):
        return DataConfig("tfds", name=dataset.removeprefix(TFDS_PREFIX))
    folder = find_directory(dataset)
    if not folder.is_dir():
        raise InputError(
            f"{dataset}: expected a folder of class folders, {TFDS_PREFIX}NAME or digits, found nothing of that name;"
            f" {looked_for(dataset)}; of TensorFlow Datasets: scarlet init {TFDS_PREFIX}{pathlib.Path(dataset).name}"
        )
    prepared = _prepared(folder)
    place = prepared or folder
    # A folder not found from here was found under $SCARLET_DATA_DIR, and is named relative to it.
    root = None if pathlib.Path(dataset).expanduser().is_dir() else data_root()
    directory = (place.resolve() if root is None else place.relative_to(root)).as_posix()
    return DataConfig("tfds" if prepared else "folder", directory=directory)


def _prepared(folder: pathlib.Path) -> pathlib.Path | None:
    """The folder that TFDS prepared: this one, or the newest version in it."""
    if (folder / _TFDS_FILE).is_file():
        return folder
    return newest_version(path.parent for path in folder.glob(f"*/{_TFDS_FILE}"))
