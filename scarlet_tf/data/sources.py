"""Result type of all image sources, and their lookup of directories. Imports no framework."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from scarlet_tf.base.errors import InputError

if TYPE_CHECKING:
    from scarlet_tf.data.splits import Split

DATA_DIR_VARIABLE = "SCARLET_DATA_DIR"
# Files that take less together are identified by their contents, others by their sizes.
_HASHED_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class SourceData:
    """The splits that a dataset comes with: "train" always, "validation" and "test" where it has them.

    `fingerprint` identifies the content, wherever it lies; `skipped` names images that could not be decoded; `notes` are
    lines about what is not used.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]
    fingerprint: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check_class_names(names: Iterable[str], where: str) -> None:
    """Raise InputError for a name that would not be one line of labels.txt, or that UTF-8 cannot write."""
    for name in names:
        # Cc: control characters; Cs: bytes that are no text; Zl and Zp: separators of lines and paragraphs.
        if not name or any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
            raise InputError(
                f"{where}: expected class names without line breaks and other control characters, got {name!a}; rename it"
            )


def newest_version(folders: Iterable[pathlib.Path]) -> pathlib.Path | None:
    """The folder whose name is the greatest version, compared by numbers: 1.10.0 is newer than 1.9.0."""
    return max(folders, key=lambda path: [int(part) for part in path.name.split(".") if part.isdecimal()], default=None)


def data_root() -> pathlib.Path | None:
    """The folder that the environment variable SCARLET_DATA_DIR names, if it is set."""
    value = os.environ.get(DATA_DIR_VARIABLE)
    return pathlib.Path(value).expanduser() if value else None


def find_directory(directory: str) -> pathlib.Path:
    """`directory` itself, or, where that does not exist and is relative, the one under $SCARLET_DATA_DIR."""
    path, root = pathlib.Path(directory).expanduser(), data_root()
    if not path.is_dir() and not path.is_absolute() and root is not None and (root / path).is_dir():
        return root / path
    return path


def looked_for(directory: str) -> str:
    """The places that `find_directory` searched, in words."""
    path, root = pathlib.Path(directory).expanduser(), data_root()
    if path.is_absolute():
        return f"looked for {path}"
    further = "which is not set" if root is None else f"where it would be {root / path}"
    return (
        f"looked for {path.absolute()}, for a relative path counts from the folder where the command is started, or else"
        f" from ${DATA_DIR_VARIABLE}, {further}"
    )


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """Sixteen hex digits of SHA-256 over `parts`, each with its length, so that no two lists run together."""
    digest = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]


def file_identities(paths: Sequence[pathlib.Path]) -> list[str]:
    """One string a file: its size, and the SHA-256 of its content where all the files are small together."""
    sizes = [path.stat().st_size for path in paths]
    if sum(sizes) > _HASHED_BYTES:
        return [str(size) for size in sizes]
    return [f"{size} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path, size in zip(paths, sizes, strict=True)]


# -- Names that folders and TFDS splits have for training, validation and test images. Imports no framework --------


# The most usual name first: if a TFDS dataset has several for one role, that one is taken.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_ROLES = {name: role for role, names in SPLIT_NAMES.items() for name in names}
_PATTERN = re.compile(rf"(?P<prefix>.+[_\-. ])?(?P<name>{'|'.join(_ROLES)})", re.IGNORECASE)


def role_of(name: str) -> str | None:
    """Role of a split's name in any case, also after a prefix as in seg_train; None for other names."""
    match = _PATTERN.fullmatch(name)
    return _ROLES[match["name"].lower()] if match else None


def is_plain(name: str) -> bool:
    """True for a split's name without a prefix."""
    return name.lower() in _ROLES


def choose_splits(names: Iterable[str], where: str) -> dict[str, str]:
    """Role to the split's name. The most usual name wins; InputError for two of a role that only prefixes tell apart."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if role := role_of(name):
            found.setdefault(role, []).append(name)
    chosen = {}
    for role, candidates in found.items():
        usual = [name for known in SPLIT_NAMES[role] for name in candidates if name.lower() == known]
        if not usual and len(candidates) > 1:
            raise InputError(f"{where}: expected one split of {role} images, got {' and '.join(candidates)}")
        chosen[role] = (usual or candidates)[0]
    return chosen
