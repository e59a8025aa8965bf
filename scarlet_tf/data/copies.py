"""Equal files: in two classes they contradict each other, in training and test images they make accuracies too good."""

from __future__ import annotations

import collections
import logging
import pathlib
from collections.abc import Iterator, Mapping

from scarlet_tf.data.folder_files import FolderFiles

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
