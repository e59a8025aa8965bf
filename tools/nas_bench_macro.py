"""NAS-Bench-Macro (Su et al., arXiv:2103.11922): its space, and the published trainings of all its networks on CIFAR-10.

The file nas-bench-macro_cifar10.json is not part of this project; its authors publish it as xiusu/NAS-Bench-Macro.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.space.equivalence import canonical
from scarlet_tf.space.search_space import SearchSpace

CLASSES, SEEDS = 10, 3
SPACE = SearchSpace(
    "nas_bench_macro",
    stages=(Stage(64, 2, 2), Stage(128, 3, 2), Stage(256, 3, 2)),
    choices=(Choice(), Choice(3, 3), Choice(6, 5)),  # in the order of the table's digits
    stem_channels=32,
    stem_stride=1,
    first_channels=None,
    activation="relu",
    input_size=32,
    stem_activation="relu",
    tail_activation="relu",
    skip_projection=True,
)


def costs() -> CostTable:
    """Costs of the space's networks at the table's size of images."""
    return cost_table(SPACE, SPACE.input_size, CLASSES)


def default_path() -> pathlib.Path:
    """The table below SCARLET_DATA_DIR, or below `data`."""
    return pathlib.Path(os.environ.get("SCARLET_DATA_DIR", "data")) / "nas_bench_macro/nas-bench-macro_cifar10.json"


@dataclasses.dataclass(frozen=True)
class Table:
    """The different networks, one of all equal ones, and their published trainings.

    networks: choice indices [N, 8]; accuracies: test accuracies [N, 3] from 0 to 1, a column a seed; multiply_adds: [N].
    """

    networks: np.ndarray
    accuracies: np.ndarray
    multiply_adds: np.ndarray

    @functools.cached_property
    def depths(self) -> np.ndarray:
        """Layers that are not skipped [N]."""
        return (self.networks != 0).sum(axis=1)


def load_table(path) -> Table:
    """The table in a file as published. Raises InputError for a file that is missing, torn, or another one."""
    rows = read_json(path)
    names = sorted(rows) if isinstance(rows, dict) else []
    if len(names) != SPACE.size or any(len(name) != SPACE.num_layers or set(name) - set("012") for name in names):
        raise InputError(
            f"{path}: expected the {SPACE.size} networks of NAS-Bench-Macro, strings of eight digits 0 to 2"
        )
    networks = np.array([[int(digit) for digit in name] for name in names])
    accuracies = np.array([_accuracies(path, name, rows[name]) for name in names]) / 100
    counted = costs().count(networks)
    for key, ours in zip(("flops", "params"), counted, strict=True):
        for name, count in zip(names, ours.tolist(), strict=True):
            if rows[name].get(key) != count:
                raise InputError(
                    f"{path}: {name}.{key}: expected {count}, as the space has it, got {rows[name].get(key)!r}"
                )
    different = (canonical(networks, SPACE) == networks).all(axis=1)
    return Table(networks[different], accuracies[different], counted[0][different])


def _accuracies(path, name: str, row) -> list[float]:
    found = row.get("test_acc") if isinstance(row, dict) else None
    values = found if isinstance(found, list) else []
    if len(values) != SEEDS or not all(isinstance(value, (int, float)) and 0 <= value <= 100 for value in values):
        raise InputError(f"{path}: {name}.test_acc: expected {SEEDS} numbers from 0 to 100, got {found!r}")
    return values
