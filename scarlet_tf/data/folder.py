"""Images in class folders: decoded and checked."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import itertools
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.decoding import decode, sixteen_bit_peak
from scarlet_tf.data.facts import describe_copies, describe_range, digests_of_alike
from scarlet_tf.data.folder_files import SplitFiles, count_reasons, list_files
from scarlet_tf.data.image_files import DAMAGED, FORBIDDEN, FORMATS, LARGEST_SKIPPED_SHARE
from scarlet_tf.data.images import FileImages, in_memory
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.sources import SourceData, file_identities, fingerprint
from scarlet_tf.data.splits import IndexedSplit

logger = logging.getLogger("scarlet_tf")
_Image = TypeVar("_Image")


@dataclasses.dataclass(frozen=True)
class _Files:
    """Files of one split that can be read.

    decoded: their pixels where there is room; digests: SHA-256 of each, where all of it was read; skipped: what is left
    out, with the reason; peaks: `sixteen_bit_peak` of each, where all of it was read.
    """

    paths: list[pathlib.Path]
    labels: list[int]
    decoded: list[np.ndarray] | None
    digests: list[str]
    skipped: dict[pathlib.Path, str]
    peaks: list[int | None]


def load(config: DataConfig, preprocessing: Preprocessing) -> SourceData:
    """Read the folder's structure and, unless `config.check_images` is off, decode every image once."""
    listed = list_files(str(config.directory))
    listed.log_names()
    content: dict[pathlib.Path, str] = {}
    splits, parts, skipped, peaks = {}, list(listed.class_names), [], []
    for name, found in listed.splits.items():
        folder, files = found.folder, _check(found, config)
        _refuse_or_warn(folder, files, len(found.paths))
        skipped += [str(path) for path in files.skipped]
        peaks += files.peaks
        paths = [str(path) for path in files.paths]
        images = in_memory(files.decoded) if files.decoded else FileImages(paths, len(files.skipped))
        splits[name] = IndexedSplit(images, np.arange(len(files.labels)), np.asarray(files.labels), preprocessing)
        identities = file_identities(files.paths)
        pairs = zip(files.paths, identities, strict=True)
        parts += [name, *(f"{path.relative_to(folder).as_posix()} {identity}" for path, identity in pairs)]
        content.update(zip(files.paths, files.digests, strict=False))
    name = config.name or listed.name
    content = content if config.check_images else digests_of_alike(listed)
    notes = (*listed.notes, *describe_range(name, peaks), *describe_copies(listed, content))
    return SourceData(name, listed.class_names, splits, fingerprint(parts), tuple(skipped), notes)


def _check(listed: SplitFiles, config: DataConfig) -> _Files:
    """Decode every file and keep the pixels while there is room; without `check_images` read first bytes only."""
    decoded: list[np.ndarray] = []
    files = _Files([], [], decoded, [], {}, [])
    room = config.memory_bytes if config.check_images else -1
    found: Iterable = (listed.problems.get(path) for path in listed.paths)
    if config.check_images:
        found = _decode_all(listed.paths, listed.problems, _image_digest_and_peak)
    with progress_bar(f"checking {listed.folder.name}", len(listed.paths)) as bar:
        for path, label, outcome in zip(listed.paths, listed.labels, found, strict=True):
            bar.advance()
            if isinstance(outcome, str):
                files.skipped[path] = outcome
                continue
            files.paths.append(path)
            files.labels.append(label)
            if outcome is None:
                continue
            image, digest, peak = outcome
            files.digests.append(digest)
            files.peaks.append(peak)
            room -= image.size
            if room >= 0:
                decoded.append(image)
            else:
                decoded.clear()
    return files if room >= 0 else dataclasses.replace(files, decoded=None)


def _image_digest_and_peak(image: tf.Tensor, encoded: bytes) -> tuple[np.ndarray, str, int | None]:
    return image.numpy(), hashlib.sha256(encoded).hexdigest(), sixteen_bit_peak(encoded)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _decode(encoded: tf.Tensor) -> tf.Tensor:
    """`decode` as one graph, which takes a fraction of the time of its operations one by one."""
    return decode(encoded)


def _decode_all(
    paths: Iterable[pathlib.Path],
    problems: Mapping[pathlib.Path, str],
    keep: Callable[[tf.Tensor, bytes], _Image],
) -> Iterator[_Image | str]:
    """`keep(image, encoded)` of each file in order, or the reason why it cannot be read; a few files ahead in threads."""

    def decode_file(path: pathlib.Path) -> _Image | str:
        if path in problems:
            return problems[path]
        try:
            encoded = path.read_bytes()
            return keep(_decode(tf.constant(encoded)), encoded)
        except PermissionError:
            return FORBIDDEN
        except OSError as error:
            return error.strerror or str(error)
        except tf.errors.OpError:
            return DAMAGED

    workers = min(os.cpu_count() or 1, 64)
    waiting: collections.deque = collections.deque()
    rest = iter(paths)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for path in itertools.islice(rest, 2 * workers):
            waiting.append(pool.submit(decode_file, path))
        while waiting:
            outcome = waiting.popleft().result()
            waiting.extend(pool.submit(decode_file, path) for path in itertools.islice(rest, 1))
            yield outcome


def _refuse_or_warn(folder: pathlib.Path, files: _Files, num_files: int) -> None:
    """Raise InputError if more than LARGEST_SKIPPED_SHARE of the images are lost; warn of fewer."""
    if not files.skipped:
        return
    names = [f"{path.relative_to(folder).as_posix()} ({reason})" for path, reason in files.skipped.items()]
    few = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    reasons = count_reasons(files.skipped.values())
    if len(names) > LARGEST_SKIPPED_SHARE * num_files:
        raise InputError(
            f"{folder}: {len(names)} of {num_files} images cannot be decoded, {reasons}: {few}; expected at most"
            f" {LARGEST_SKIPPED_SHARE:.0%}; {FORMATS} can be, convert the others or remove them"
        )
    logger.warning("%s: skipped %d images that cannot be decoded, %s: %s", folder, len(names), reasons, few)
    if len(names) > 5:
        logger.debug("%s: skipped:\n  %s", folder, "\n  ".join(names))
