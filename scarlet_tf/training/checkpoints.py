"""Checkpoints: every variable of a training run in one file that is either whole or refused.

A checkpoint is an uncompressed NumPy .npz (a ZIP archive) written beside its target and renamed. ZIP keeps a CRC of
every member, so a torn or damaged file is noticed when it is read and the one before it is used. What headers claim is
compared with the bytes that are there before any memory is taken for it.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import logging
import math
import pathlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import keras
import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import atomic_writer, write_text

logger = logging.getLogger("scarlet_tf")
_META = "__meta__"
_NAME = re.compile(r"checkpoint-(\d+)\.npz")


class Checkpoints:
    """The newest `keep` checkpoints of one folder, named after their step."""

    def __init__(self, folder, keep: int = 2):
        self.folder = pathlib.Path(folder)
        self.keep = keep

    def save(self, step: int, variables: dict, meta: dict) -> pathlib.Path:
        """Writes `variables` ({name: Keras variable or array}) and `meta` (plain JSON) as the state after `step` steps."""
        path = self.folder / f"checkpoint-{step:09d}.npz"
        arrays: dict[str, Any] = {name: as_array(variable) for name, variable in variables.items()}
        arrays[_META] = np.frombuffer(json.dumps({**meta, "step": step}).encode(), np.uint8)
        with atomic_writer(path) as file:
            np.savez(file, **arrays)
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def paths(self) -> list[pathlib.Path]:
        """Existing checkpoints, oldest first."""
        found = (path for path in self.folder.glob("checkpoint-*.npz") if _NAME.fullmatch(path.name))
        return sorted(found)

    def restore(self, variables: dict, expected: dict | None = None) -> dict | None:
        """Loads the newest readable checkpoint into `variables`; returns its meta, or None when there is none.

        `expected`: entries that its meta must have, such as the configuration; InputError names the first that
        differs. Unreadable files are reported and passed over; if all are unreadable, InputError.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                arrays, meta = _read(path)
            except Exception as error:  # whatever ZIP, NumPy and JSON make of damaged bytes
                reason = str(error) or type(error).__name__
                logger.warning("%s is damaged (%s); using the checkpoint before it", path, reason)
                continue
            _check_meta(path, meta, expected or {})
            _assign(path, variables, arrays)
            return meta
        if paths:
            raise InputError(
                f"{self.folder}: none of its {len(paths)} checkpoints can be read; remove it to start again"
            )
        return None


def as_array(variable) -> np.ndarray:
    """A Keras variable's value; of a variable that is mirrored over replicas, the value they agree on.

    NumPy files know no bfloat16: such a variable comes as float32, which holds every value of it.
    """
    array = np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def values_digest(variables: Iterable) -> str:
    """The SHA-256 of the values of Keras variables, in order."""
    digest = hashlib.sha256()
    for variable in variables:
        array = as_array(variable)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(path: pathlib.Path) -> tuple[dict, dict]:
    """Arrays and meta; any exception where the bytes are not those of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        arrays = {member.filename: _array(archive, member, path.stat().st_size) for member in archive.infolist()}
    arrays = {name.removesuffix(".npy"): array for name, array in arrays.items()}
    meta = json.loads(arrays.pop(_META).tobytes().decode())
    return arrays, {**meta, "step": int(meta["step"])}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file_size: int) -> np.ndarray:
    """One member, as `np.savez` stores it: uncompressed, its .npy header followed by exactly the bytes that it declares."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise ValueError(f"{member.filename}: expected it stored, neither compressed nor encrypted")
    if not member.file_size == member.compress_size <= file_size:
        raise ValueError(f"{member.filename}: expected at most the file's {file_size} bytes, got {member.file_size}")
    data = io.BytesIO(archive.read(member))  # which compares the CRC
    if np.lib.format.read_magic(data) != (1, 0):
        raise ValueError(f"{member.filename}: expected NumPy's format 1.0")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(data)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or size != member.file_size - data.tell():
        raise ValueError(f"{member.filename}: expected {dtype} {shape} to be {size} bytes")
    array = np.frombuffer(data.getbuffer(), dtype, offset=data.tell())
    return array.reshape(shape, order="F" if by_columns else "C")


def _check_meta(path: pathlib.Path, meta: dict, expected: dict) -> None:
    for key, value, found in _differences(json.loads(json.dumps(expected)), meta):
        raise InputError(f"{path}: it belongs to another run: {key}: expected {value!r}, found {found!r}")


def _differences(expected: dict, found: dict, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, expected, found) of the innermost values that differ; what only `found` has is no difference at the top."""
    for key in expected if not prefix else {**expected, **found}:
        ours, theirs = expected.get(key), found.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            yield from _differences(ours, theirs, f"{prefix}{key}.")
        elif ours != theirs:
            yield f"{prefix}{key}", ours, theirs


def _assign(path: pathlib.Path, variables: dict, arrays: dict) -> None:
    if variables.keys() != arrays.keys():
        missing, extra = sorted(variables.keys() - arrays.keys()), sorted(arrays.keys() - variables.keys())
        raise InputError(f"{path}: it belongs to another model: missing {missing[:3]}, unexpected {extra[:3]}")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise InputError(f"{path}: {name}: expected shape {tuple(variable.shape)}, found {arrays[name].shape}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


# -- Log files of a training, written by Keras' own callbacks: a CSV table and TensorBoard's events ----------------


def log_callbacks(section: str, tensorboard: bool, table: bool, folder, columns: Sequence[str]) -> list:
    """The callbacks that a section's switches ask for: `<folder>/tensorboard/` and `<folder>/log.csv`.

    `columns`: of the table, after "epoch". Raises InputError when there is no folder, or no package tensorboard.
    """
    for key, wanted in (("tensorboard", tensorboard), ("csv", table)):
        if wanted and folder is None:
            raise InputError(f"{section}.{key}: expected false without a run_dir, got true")
    found = []
    if table:
        found.append(ResumableCSVLogger(pathlib.Path(folder) / "log.csv", columns))
    if tensorboard:
        if importlib.util.find_spec("tensorboard") is None:
            raise InputError(
                "tensorboard: expected the package tensorboard, which is not installed; install it with"
                " pip install 'scarlet_tf[tensorboard]', or set it to false"
            )
        # A resumed training adds an events file. Epochs done again are in both, and TensorBoard draws them twice.
        found.append(keras.callbacks.TensorBoard(str(pathlib.Path(folder) / "tensorboard"), write_graph=False))
    return found


class ResumableCSVLogger(keras.callbacks.CSVLogger):
    """Keras' CSVLogger for trainings that resume: a row an epoch, whatever was done twice.

    The rows from the first epoch of this process on are dropped when it begins: they were written by one that was killed
    before its checkpoint. The columns are known beforehand, because Keras takes them from the first epoch, which may lack
    figures that later ones have; a figure that an epoch does not have is "NA".

    Args:
        path: of the file.
        columns: names of figures; columns that the file has already are kept.
    """

    csv_file: IO[str] | None

    def __init__(self, path, columns: Sequence[str]):
        super().__init__(path, append=True)
        self.columns = list(columns)

    def on_train_begin(self, logs=None):
        """Nothing yet: which epoch comes first is not known."""

    def on_epoch_begin(self, epoch, logs=None):
        if self.csv_file is None:
            self._rewrite(epoch)
            # As the csv module wants it: Keras opens it with line ends that Windows doubles.
            self.csv_file = open(self.filename, "a", newline="", encoding="utf-8")  # noqa: SIM115 - closed at the end
            self.append_header, self.writer, self.keys = False, None, self.columns

    def _rewrite(self, first_epoch: int) -> None:
        path = pathlib.Path(self.filename)
        rows, old = [], []
        if path.exists():
            with path.open(newline="", encoding="utf-8", errors="replace") as file:
                reader = csv.DictReader(file)
                rows = [row for row in reader if str(row.get("epoch")).isdecimal() and int(row["epoch"]) < first_epoch]
                old = [name for name in reader.fieldnames or () if name != "epoch"]
        self.columns = list(dict.fromkeys([*old, *self.columns]))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *self.columns], restval="NA", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())
