"""Workshop: the dataset, the trained supernets and the result files of a study; supernets are shared among studies."""

from __future__ import annotations

import dataclasses
import functools
import gc
import logging
import pathlib
from collections.abc import Iterator

from scarlet_tf.assessment.store import digest
from scarlet_tf.data.datasets import ImageData, load_dataset
from scarlet_tf.files import write_json
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.results import to_json
from scarlet_tf.settings import to_plain
from scarlet_tf.training.config import IMMATERIAL, SupernetConfig
from scarlet_tf.training.supernet import new_supernet, train_supernet
from studies.clock import CPU_FILE, CpuClock
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

    def trained(self, config: SupernetConfig) -> Supernet:
        """The supernet of these settings, trained now or taken from the cache."""
        folder = self._folder(config)
        if not (folder / "settings.json").exists():
            write_json(folder / "settings.json", self.context(config))
        supernet = new_supernet(config, self.study.space, self.input_shape, self.data.num_classes)
        clock = CpuClock(folder / CPU_FILE)
        train_supernet(supernet, self.data.train, config, run_dir=folder, callbacks=(clock,))
        return supernet

    def cpu_seconds(self, config: SupernetConfig) -> float | None:
        """CPU seconds of a supernet's training; None if they were not counted."""
        steps = config.epochs * self.data.train.steps_per_epoch(config.batch_size)
        return CpuClock(self._folder(config) / CPU_FILE).cpu_seconds(steps)

    def _folder(self, config: SupernetConfig) -> pathlib.Path:
        return self.cache / f"supernet-{digest(self.context(config))}"

    def save(self, rows: list[dict], summary: list[dict], complete: bool, **details) -> dict:
        """Write result.json, also while the study is not complete; return it without details, which may be long."""
        table = {"study": self.study.name, "complete": complete, "rows": rows, "summary": summary}
        write_json(self.folder / "result.json", to_json({**table, "settings": self.study.to_dict(), **details}))
        return to_json(table)
