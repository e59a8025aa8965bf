"""Names that folders and TFDS splits have for training, validation and test images. Imports no framework."""

from __future__ import annotations

import re
from collections.abc import Iterable

from scarlet_tf.errors import InputError

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
