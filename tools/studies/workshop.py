"""Workshop: the dataset, the trained networks and the result files of a study; what is trained is shared among studies."""

from __future__ import annotations

import dataclasses
import functools
import gc
import logging
import pathlib
import shutil
from collections.abc import Iterator, Sequence

import numpy as np

from scarlet_tf.assessment.store import Store, digest
from scarlet_tf.base.files import write_json
from scarlet_tf.base.settings import to_plain
from scarlet_tf.data.datasets import ImageData, load_dataset
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.results import to_json
from scarlet_tf.space.spec import NetworkSpec
from scarlet_tf.training.config import IMMATERIAL, RetrainConfig, SupernetConfig
from scarlet_tf.training.network import retrain
from scarlet_tf.training.supernet import new_supernet, train_supernet
from studies.settings import Study

logger = logging.getLogger("scarlet_tf")


class Workshop:
    """Folders and data of a study.

    Args:
        study: the study.
        out: `<out>/<study's name>` holds its results, `<out>/cache` everything that other studies can use, too.
    """

    def __init__(self, study: Study, out):
        self.study = study
        self.folder = pathlib.Path(out) / study.name
        self.cache = pathlib.Path(out) / "cache"

    @functools.cached_property
    def data(self) -> ImageData:
        return load_dataset(self.study.data)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        size = self.study.data.image_size
        return (size, size, 3)

    @functools.cached_property
    def data_context(self) -> dict:
        """Context that names the images and their division: cached results belong to it."""
        config = {key: value for key, value in to_plain(self.study.data).items() if key != "memory_bytes"}
        return {"dataset": self.data.fingerprint, "data": config}

    def context(self, config: SupernetConfig) -> dict:
        """Context that names a trained supernet."""
        settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in IMMATERIAL}
        return {**self.data_context, "space": self.study.space.fingerprint, "supernet": settings}

    def supernets(self) -> Iterator[tuple[str, int, SupernetConfig, Supernet]]:
        """(name, seed, settings, supernet) of each supernet of the study, trained now or taken from the cache.

        All names of a seed come before the next seed, so that early results can already be compared.
        """
        for seed in self.study.seeds:
            for name, config in self.study.supernets.items():
                config = dataclasses.replace(config, seed=seed)
                logger.info("%s: supernet %s, seed %d", self.study.name, name, seed)
                yield name, seed, config, self.trained(config)
                gc.collect()  # the graphs of a supernet no longer needed refer to each other

    @property
    def num_supernets(self) -> int:
        """Number of supernets that `supernets` yields."""
        return len(self.study.seeds) * len(self.study.supernets)

    def trained(self, config: SupernetConfig) -> Supernet:
        """The supernet of these settings, trained now or taken from the cache."""
        folder = self.cache / f"supernet-{digest(self.context(config))}"
        if not (folder / "settings.json").exists():
            write_json(folder / "settings.json", self.context(config))
        supernet = new_supernet(config, self.study.space, self.input_shape, self.data.num_classes)
        train_supernet(supernet, self.data.train, config, run_dir=folder)
        return supernet

    def retrained(self, network: NetworkSpec, settings: RetrainConfig, store: Store) -> dict:
        """Figures of `retrain` of a network on its own, kept in `store`; a killed training resumes."""
        work = store.folder / "training"

        def train() -> dict:
            _, figures = retrain(network, self.data.train, self.data.validation, settings, work)
            gc.collect()  # the network's traced graphs refer to one another
            return to_json(figures)

        found = store.get("figures", train)
        shutil.rmtree(work, ignore_errors=True)  # checkpoints; the figures are kept
        return found

    def save(self, rows: list[dict], summary: list[dict], total: int, **details) -> dict:
        """Write result.json, also before all `total` rows are there; return it without details, which may be long."""
        table = {"study": self.study.name, "complete": len(rows) == total, "rows": rows, "summary": summary}
        write_json(self.folder / "result.json", to_json({**table, "settings": self.study.to_dict(), **details}))
        return to_json(table)


def over_seeds(rows: Sequence[dict], by: Sequence[str], figures: Sequence[str]) -> list[dict]:
    """One row for each combination of `by`: mean and standard deviation (of the sample) over its rows' figures.

    A figure that is None in a row is left out; the deviation of a single one is None.
    """
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    return [
        {**dict(zip(by, key, strict=True)), "seeds": len(members), **_figures(members, figures)}
        for key, members in groups.items()
    ]


def _figures(rows: Sequence[dict], figures: Sequence[str]) -> dict:
    found = {}
    for name in figures:
        values = [row[name] for row in rows if row[name] is not None]
        found[name] = float(np.mean(values)) if values else None
        found[f"{name}_deviation"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return found
