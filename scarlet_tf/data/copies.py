"""Equal files: in two classes they contradict each other, in training and test images they make accuracies too good."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import logging
import pathlib
from collections.abc import Iterator, Mapping

from scarlet_tf.data.folder_files import FolderFiles
from scarlet_tf.progress import progress_bar

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
