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

from scarlet_tf.data.copies import describe_copies
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.decoding import decode, sixteen_bit_peak
from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.data.folder_files import SplitFiles, count_reasons, list_files
from scarlet_tf.data.image_files import DAMAGED, FORBIDDEN, FORMATS
from scarlet_tf.data.images import LARGEST_SKIPPED_SHARE, FileImages, in_memory
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.sources import SourceData, file_identities, fingerprint
from scarlet_tf.data.splits import IndexedSplit
from scarlet_tf.errors import InputError
from scarlet_tf.progress import progress_bar

logger = logging.getLogger("scarlet_tf")
# A photograph of 12 megapixels takes 36 MB decoded: `look` holds a few, whatever the number of processors.
_DECODED_AT_ONCE = 4
# 16-bit PNG files below this sample leave at least two of their bits unused, as those with 10, 12 or 14 bits do.
_LOW_PEAK = 2**14
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
    """Reads the folder's structure and, unless `config.check_images` is off, decodes every image once."""
    listed = list_files(str(config.directory))
    listed.log_names()
    splits, parts, skipped, content, peaks = {}, list(listed.class_names), [], {}, []
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
        digests = files.digests or [identity.partition(" ")[2] for identity in identities]
        content.update({path: digest for path, digest in zip(files.paths, digests, strict=True) if digest})
    name = config.name or listed.name
    notes = (*listed.notes, *_describe_range(name, peaks), *describe_copies(listed, content))
    return SourceData(name, listed.class_names, splits, fingerprint(parts), tuple(skipped), notes)


def look(config: DataConfig, num_images: int) -> DatasetFacts:
    """Facts without decoding more than `num_images` of the training files, spread evenly over them."""
    listed = list_files(str(config.directory))
    listed.log_names()
    train = listed.splits["train"]
    chosen = np.unique(np.linspace(0, len(train.paths) - 1, num_images).astype(int))
    paths = [train.paths[i] for i in chosen]
    name = config.name or listed.name

    def keep(image, encoded):
        return tuple(image.shape[:2]), sixteen_bit_peak(encoded)

    found = list(_decode_all(paths, train.problems, keep, _DECODED_AT_ONCE))
    images = [outcome for outcome in found if not isinstance(outcome, str)]
    return DatasetFacts(
        name,
        listed.class_names,
        {name: len(files.paths) for name, files in listed.splits.items()},
        np.bincount(train.labels, minlength=len(listed.class_names)),
        tuple(size for size, _ in images),
        tuple(f"{path} ({reason})" for path, reason in zip(paths, found, strict=True) if isinstance(reason, str)),
        (*listed.notes, *_describe_range(name, [peak for _, peak in images])),
    )


def _check(listed: SplitFiles, config: DataConfig) -> _Files:
    """Decodes every file and keeps the pixels while there is room; without `check_images` looks at first bytes only."""
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


def _describe_range(name: str, peaks: Iterable[int | None]) -> tuple[str, ...]:
    """A line where the 16-bit PNG files use a small part of their range, of which only the upper 8 bits are read."""
    deep = [peak for peak in peaks if peak is not None]
    if not deep or max(deep) >= _LOW_PEAK:
        return ()
    factor = 2 ** (16 - max(max(deep).bit_length(), 1))
    return (
        f"{name}: {len(deep):,} 16-bit PNG images use {max(deep) / 65535:.1%} of their range (samples up to {max(deep):,} of"
        f" 65,535) and are nearly black to the network, which gets the upper 8 bits; multiply their samples by {factor} and"
        f" save them again (magick mogrify -evaluate multiply {factor}), here and wherever the network is used",
    )


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _decode(encoded: tf.Tensor) -> tf.Tensor:
    """`decode` as one graph, which takes a fraction of the time of its operations one by one."""
    return decode(encoded)


def _decode_all(
    paths: Iterable[pathlib.Path],
    problems: Mapping[pathlib.Path, str],
    keep: Callable[[tf.Tensor, bytes], _Image],
    at_once: int | None = None,
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

    workers = min(os.cpu_count() or 1, at_once or 64)
    waiting: collections.deque = collections.deque()
    rest = iter(paths)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for path in itertools.islice(rest, 2 * workers if at_once is None else workers):
            waiting.append(pool.submit(decode_file, path))
        while waiting:
            outcome = waiting.popleft().result()
            waiting.extend(pool.submit(decode_file, path) for path in itertools.islice(rest, 1))
            yield outcome


def _refuse_or_warn(folder: pathlib.Path, files: _Files, num_files: int) -> None:
    """InputError where more than LARGEST_SKIPPED_SHARE of the images are lost; a warning for fewer."""
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
