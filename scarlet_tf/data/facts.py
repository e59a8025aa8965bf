"""DatasetFacts: the result of a quick look at a dataset. Imports no framework."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import logging
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from scarlet_tf.base.progress import progress_bar
from scarlet_tf.data.folder_files import FolderFiles

# 16-bit PNG files below this sample leave at least two of their bits unused, as those with 10, 12 or 14 bits do.
_LOW_PEAK = 2**14


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """A dataset as stored, before anything is held out.

    num_examples: images of each split; class_counts: training images of each class, int [classes], counted on a part where
    there are very many; shapes: (height, width) of sampled training images; unreadable: sampled files that cannot be
    decoded; notes: lines about what is not used and a run's warnings; decode_seconds: core seconds to decode an image,
    where measured.
    """

    name: str
    class_names: tuple[str, ...]
    num_examples: dict[str, int]
    class_counts: np.ndarray
    shapes: tuple[tuple[int, int], ...]
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    decode_seconds: float = 0.0

    @property
    def num_sampled(self) -> int:
        return len(self.shapes) + len(self.unreadable)

    @property
    def side(self) -> int:
        """The median of the sampled images' shorter sides, in pixels."""
        return int(np.median([min(shape) for shape in self.shapes]))

    @property
    def decoded_bytes(self) -> float:
        """An estimate of all images' size as uint8 [H, W, 3]."""
        return 3 * float(np.mean([height * width for height, width in self.shapes])) * sum(self.num_examples.values())


def describe_range(name: str, peaks: Iterable[int | None]) -> tuple[str, ...]:
    """A line if the 16-bit PNG files use a small part of their range, of which only the upper 8 bits are read."""
    deep = [peak for peak in peaks if peak is not None]
    if not deep or max(deep) >= _LOW_PEAK:
        return ()
    factor = 2 ** (16 - max(max(deep).bit_length(), 1))
    return (
        f"{name}: {len(deep):,} 16-bit PNG images use {max(deep) / 65535:.1%} of their range (samples up to {max(deep):,} of"
        f" 65,535) and are nearly black to the network, which gets the upper 8 bits; multiply their samples by {factor} and"
        f" save them again (magick mogrify -evaluate multiply {factor}), here and wherever the network is used",
    )


# -- Equal files: in two classes they contradict each other, in training and test images they make accuracies too good


_HEAD_BYTES = 2**16
logger = logging.getLogger("scarlet_tf")


def describe_copies(listed: FolderFiles, content: Mapping[pathlib.Path, str]) -> Iterator[str]:
    """A line for each kind of equal files; `content` has the digest of each file, and all names go to the log."""
    places = {
        path: (split, label)
        for split, files in listed.splits.items()
        for path, label in zip(files.paths, files.labels, strict=True)
    }
    groups = collections.defaultdict(list)
    for path, digest in content.items():
        groups[digest].append(path)
    kinds: dict[str, list[str]] = {}
    for paths in groups.values():
        if len(paths) > 1:
            splits = sorted({places[path][0] for path in paths})
            kind = "one class, which hold-outs may put on both sides"
            if len({places[path][1] for path in paths}) > 1:
                kind = "two classes"
            elif len(splits) > 1:
                kind = f"{' and '.join(splits)} images"
            names = " = ".join(path.relative_to(listed.root).as_posix() for path in paths)
            kinds.setdefault(kind, []).append(names)
    for kind, names in kinds.items():
        logger.debug("%s: equal files in %s:\n  %s", listed.name, kind, "\n  ".join(names))
        more = ", ..." if len(names) > 3 else ""
        yield f"{listed.name}: {len(names):,} images are there more than once in {kind}: {', '.join(names[:3])}{more}"


def digests_of_alike(listed: FolderFiles) -> dict[pathlib.Path, str]:
    """The digest of each file that may be equal to another, by its size and then by its first bytes.

    Photographs rarely have the same size, so next to nothing of them is read.
    """
    alike: dict[object, list[pathlib.Path]] = collections.defaultdict(list)
    for files in listed.splits.values():
        for path in files.paths:
            if path not in files.problems:
                with contextlib.suppress(OSError):
                    alike[path.stat().st_size].append(path)
    found = _digests(listed.name, alike, _HEAD_BYTES)
    alike = collections.defaultdict(list)
    for path, (digest, _) in found.items():
        alike[digest].append(path)
    # Files no longer than the first bytes are known already.
    whole = {path: digest for path, (digest, size) in found.items() if size < _HEAD_BYTES}
    rest = {digest: [path for path in paths if path not in whole] for digest, paths in alike.items()}
    found_whole = whole | {path: digest for path, (digest, _) in _digests(listed.name, rest, None).items()}
    ordered = (path for files in listed.splits.values() for path in files.paths)
    return {path: found_whole[path] for path in ordered if path in found_whole}


def _digests(
    name: str, alike: Mapping[object, list[pathlib.Path]], most: int | None
) -> dict[pathlib.Path, tuple[str, int]]:
    """(digest of the first `most` bytes, how many these are) of the files that share their group with others."""
    paths = [path for group in alike.values() if len(group) > 1 for path in group]
    found: dict[pathlib.Path, tuple[str, int]] = {}
    if not paths:
        return found
    with progress_bar(f"comparing files of {name}", len(paths), transient=True) as bar:
        for path in paths:
            bar.advance()
            with contextlib.suppress(OSError), open(path, "rb") as file:
                if most is None:
                    found[path] = hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
                else:
                    head = file.read(most)
                    found[path] = hashlib.sha256(head).hexdigest(), len(head)
    return found
