"""The run folder's copy of the configuration, and the refusal of a folder that belongs to another one."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from scarlet_tf.assessment.config import RankingConfig
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import write_text
from scarlet_tf.base.settings import keys_of, show
from scarlet_tf.base.yaml_files import to_yaml
from scarlet_tf.config.reading import load_config
from scarlet_tf.config.schema import Config
from scarlet_tf.optimization.config import OptimizationConfig

# Keys that may differ when a run folder is used again, since nothing that is computed depends on them: `lanes` that ran
# out of memory may continue as `sequential`. No other stage uses a ranking, which keeps its results by their settings;
# an optimisation records its settings, and with other ones it and the export are done again.
# Any other change would mix two experiments.
MAY_DIFFER = frozenset(
    {
        "checkpoint_seconds",
        "csv",
        "data.memory_bytes",
        "search.evaluation_memory_mib",
        "search.stale_trial_minutes",
        "supernet.execution",
        "supernet.jit_compile",
        "supernet.monitor_paths",
        "tensorboard",
    }
    | {*keys_of(RankingConfig, "ranking"), *keys_of(OptimizationConfig, "optimization")}
)


def check_run_dir(run_dir, config: Config, may_differ: frozenset[str] = MAY_DIFFER) -> None:
    """Refuse a folder that belongs to another configuration or space, naming the keys with both values."""
    path = _path(run_dir)
    if not path.exists():
        return
    try:
        known = load_config(path).to_dict()
    except InputError as error:
        raise InputError(f"{error}\n  remove this copy if the run was begun with the configuration of now") from error
    lines = [
        f"{key}: {show(old)} in the folder, {show(new)} now"
        for key, (old, new) in differing_keys(known, config.to_dict()).items()
        if key not in may_differ
    ]
    if lines:
        head = f"{run_dir}: it belongs to another configuration; use another --run-dir, or undo these changes:"
        raise InputError("\n  ".join([head, *lines]))


def claim_run_dir(run_dir, config: Config, may_differ: frozenset[str] = MAY_DIFFER) -> None:
    """Write the resolved configuration to run_dir/config.yaml, unless the folder has it already."""
    check_run_dir(run_dir, config, may_differ)
    if not _path(run_dir).exists():
        header = "# The configuration of this run, with every default written out.\n"
        write_text(_path(run_dir), header + to_yaml(config.to_dict()))


def _path(run_dir) -> pathlib.Path:
    return pathlib.Path(run_dir) / "config.yaml"


def differing_keys(old: Mapping, new: Mapping, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values; a key that one side lacks counts as null there."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*old, *new]):
        left, right = old.get(key), new.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found |= differing_keys(left, right, f"{prefix}{key}.")
        elif left != right:
            found[prefix + key] = (left, right)
    return found
