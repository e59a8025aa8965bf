"""A parent in a configuration: the values that it gives to other sections, and the space around it.

Only a configuration that names one imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scarlet_tf.base.errors import InputError
from scarlet_tf.config.schema import FROM_PARENT
from scarlet_tf.parents.config import ParentConfig
from scarlet_tf.space.search_space import SearchSpace

if TYPE_CHECKING:
    from scarlet_tf.parents.parent import Parent

PREPARATION = ("normalization", "resizing")
"""Keys of "data" that a parent states; its images are normalised as those that it was trained on."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "supernet": {"skip": "shortcut", "freeze_bn": True},
    "search": {"recalibration_batches": 0, "probe_batches": 8, "score": "accuracy", "halving_loss": 0.035},
    "retrain": {"init": "supernet", "freeze_bn": True, "recalibration_batches": 0},
}
"""Values of a run that starts from a parent, where its configuration says nothing."""


def load_parent(name: str, width_multiplier: float = 1.0) -> Parent:
    """The parent of that name or in that file, narrowed, read once a process while the file does not change."""
    path = pathlib.Path(name)
    return _read(name, path.stat().st_mtime_ns if path.is_file() else 0, float(width_multiplier))


@functools.lru_cache(maxsize=4)
def _read(name: str, changed: int, width_multiplier: float) -> Parent:
    from scarlet_tf.parents.loading import parent

    if width_multiplier != 1:
        return _read(name, changed, 1.0).narrowed(width_multiplier)
    return parent(name)


def parent_in(config: ParentConfig) -> Parent:
    """The parent of a run whose configuration names one."""
    assert config.name is not None
    return load_parent(config.name, config.width_multiplier)


def with_path(values: Mapping[str, Any], folder) -> dict[str, Any]:
    """The configuration's values with `parent.name`, if it is a path, made absolute from `folder` on."""
    section = values.get("parent")
    name = section.get("name") if isinstance(section, Mapping) else None
    if not isinstance(section, Mapping) or not isinstance(name, str) or _is_name(name):
        return dict(values)
    return {**values, "parent": {**section, "name": (pathlib.Path(folder) / name).resolve().as_posix()}}


def _is_name(name: str) -> bool:
    from scarlet_tf.parents.loading import is_name

    return is_name(name)


def parent_of(values: Mapping[str, Any]) -> Parent | None:
    """The parent that plain values name, if any; InputError names `parent.name` if it cannot be read."""
    section = values.get("parent")
    name = section.get("name") if isinstance(section, Mapping) else None
    if not isinstance(name, str):
        return None
    try:
        return load_parent(name)
    except InputError as error:
        raise InputError(f"parent.name: {str(error).removeprefix('parent: ')}") from error


def given_by(parent: Parent | None, section: str) -> dict[str, Any]:
    """The values that a section takes from the parent where the configuration has none."""
    if parent is None:
        return {}
    if section == "data":
        prepared = parent.preprocessing.to_dict()
        return {key: prepared[key] for key in PREPARATION}
    return DEFAULTS.get(section, {})


def space_of(parent: Parent, config: ParentConfig, data: Any, raw: Any) -> SearchSpace:
    """The space around the parent, narrowed, at the size of the images; InputError for another space or normalization."""
    if raw not in (None, FROM_PARENT):
        raise InputError(f"space: expected {FROM_PARENT}, since parent.name is {config.name}, got {raw!r}")
    wanted = parent.preprocessing.normalization
    if data.normalization != wanted:
        raise InputError(
            f"data.normalization: expected {wanted}, which {config.name} was trained with, got {data.normalization}"
        )
    from scarlet_tf.parents.around import space_around

    try:
        narrowed = parent_in(config)
    except InputError as error:
        raise InputError(str(error).replace("width_multiplier", "parent.width_multiplier", 1)) from error
    space = space_around(
        narrowed,
        input_size=data.image_size,
        shares=config.shares,
        kernel_sizes=config.kernel_sizes,
        extra_depth=config.extra_depth,
    )
    return dataclasses.replace(space, name=FROM_PARENT)
