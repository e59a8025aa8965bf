"""Run: a run folder, its configuration and the objects that several stages share."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scarlet_tf import host
from scarlet_tf.betanas.training import check_betanas, train_betanas
from scarlet_tf.cluster import read_tf_config
from scarlet_tf.config import MAY_DIFFER, Config, check_run_dir, claim_run_dir
from scarlet_tf.cost import cost_table
from scarlet_tf.data.datasets import ImageData, load_dataset
from scarlet_tf.errors import InputError
from scarlet_tf.evaluation.inputs import plain as without_policy
from scarlet_tf.evaluation.scoring import beside_chance, evaluate
from scarlet_tf.export.warm_up import check_warm_up
from scarlet_tf.files import read_json, write_result
from scarlet_tf.models.network import Network, load_network
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.optimization.extra import check_extra
from scarlet_tf.pipeline.source_network import SourceNetwork, has_stated_weights, load_source
from scarlet_tf.report.summary import chance_warning
from scarlet_tf.search.front import check_picks_of
from scarlet_tf.search.journal import TRIALS, read_lines
from scarlet_tf.search.objectives import check_known, figures_and_goals
from scarlet_tf.training.distillation import load_teacher
from scarlet_tf.training.distribution import copy_variables
from scarlet_tf.training.supernet import new_supernet, train_supernet

logger = logging.getLogger("scarlet_tf")


class Run:
    """Paths of a run's files, and its dataset and supernet, made on first use.

    `max_hours`: each training, of the supernet and of the picked network, and the search end within this time; None sets
    no limit. `adb`: the serial and benchmark_model of an AdbRunner, which then measures latencies. Both belong to the call,
    not to the run: the folder does not record them.
    """

    def __init__(
        self, config: Config, folder, strategy=None, max_hours: float | None = None, adb: Mapping | None = None
    ):
        host.check()
        self.config = config
        self.strategy = strategy
        self.max_hours = max_hours
        self.adb = adb
        self.callbacks: tuple = ()  # of the supernet's training
        self.folder = pathlib.Path(folder)
        self.supernet_result = self.folder / "supernet" / "result.json"
        self.front = self.folder / "pareto.json"
        self.network_file = self.folder / "retrain" / "model.keras"
        self.retrain_result = self.folder / "retrain" / "result.json"
        self.optimize_folder = self.folder / "optimize"
        self.optimize_result = self.optimize_folder / "result.json"
        self.quantized_file = self.optimize_folder / "model_int8_qat.tflite"
        self.pruned_file = self.optimize_folder / "model_pruned.keras"
        self.export_folder = self.folder / "export"
        self.certificate = self.export_folder / "certificate.json"
        self.timing = self.folder / "timing.json"

    @functools.cached_property
    def data(self) -> ImageData:
        return load_dataset(self.config.data)

    @property
    def plain_train(self):
        """The training images without the strong distortions and the mixing that retraining alone uses."""
        return without_policy(self.data.train)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        size = self.config.data.image_size
        return (size, size, 3)

    @functools.cached_property
    def supernet_and_figures(self) -> tuple[Supernet, dict]:
        """The trained supernet; a later process restores it from its last checkpoint."""
        supernet, strategy = self._new_supernet(), self.strategy
        if strategy is None:
            return supernet, self._train(supernet)
        with strategy.scope():
            distributed = self._new_supernet()
        figures = self._train(distributed)
        copy_variables(distributed, supernet, strategy)
        return supernet, figures

    def _train(self, supernet: Supernet) -> dict:
        """Train the supernet, with the importances of its choices under BetaNAS."""
        train: Callable[..., dict] = train_supernet
        search = {}
        if self.config.search.is_betanas:
            train, search = train_betanas, {"search": self.config.search}
        return train(
            supernet,
            self.plain_train,
            validation_data=self.data.validation,
            config=self.config.supernet,
            strategy=self.strategy,
            run_dir=self.folder,
            max_hours=self.max_hours,
            callbacks=self.callbacks,
            **search,
        )

    def _new_supernet(self) -> Supernet:
        return new_supernet(self.config.supernet, self.config.space, self.input_shape, self.data.num_classes)

    @property
    def supernet(self) -> Supernet:
        return self.supernet_and_figures[0]

    @property
    def context(self) -> dict[str, Any]:
        """The facts that determine a path's accuracy, the dataset and the training settings: measurements belong to them."""
        resolved = self.config.to_dict()["supernet"]
        decisive = {key: value for key, value in resolved.items() if f"supernet.{key}" not in MAY_DIFFER}
        if self.config.search.is_betanas:
            decisive["betanas"] = self.config.to_dict()["search"]["betanas"]
        return {"dataset": self.data.fingerprint, "supernet": decisive}

    def test_figures(self, model: Network, batch_size: int) -> dict[str, Any]:
        """Figures of a trained network on the test images, beside chance; a warning if it is no better."""
        test = self.data.test
        figures = beside_chance(evaluate(model, test.batches(batch_size)), test.labels)
        if text := chance_warning(figures):
            logger.warning("%s", text)
        return figures

    @functools.cached_property
    def source(self) -> SourceNetwork:
        """The network to fine-tune."""
        return load_source(self.config.finetune, self.config.space, self.input_shape)

    @functools.cached_property
    def network(self) -> Network:
        """The retrained network."""
        return _load(self.network_file, self.retrain_result)

    @functools.cached_property
    def pruned_network(self) -> Network:
        """The folded network after pruning."""
        return _load(self.pruned_file, self.optimize_result)


def _load(path: pathlib.Path, mark: pathlib.Path) -> Network:
    """Load a network; `mark` distinguishes its weights from others."""
    remedy = f"remove {mark} and start again: the network is restored from its last checkpoint"
    try:
        network = load_network(path, around=False)
    except InputError as error:
        raise InputError(f"{path}: missing or torn; {remedy}") from error
    if mark.exists() and not has_stated_weights(network, read_json(mark)):
        raise InputError(f"{path}: its weights are not those that {mark} states; {remedy}")
    return network


def open_run(config: Config, folder, strategy=None, max_hours: float | None = None, adb: Mapping | None = None) -> Run:
    """The run, after every check that needs no training: its folder, its dataset, its budget."""
    run = Run(config, folder, strategy, max_hours, adb)
    examine(run)
    claim(run)
    return run


def examine(run: Run) -> None:
    """Do every check that needs no training; reads the dataset and writes nothing."""
    check_run_dir(run.folder, run.config)
    if not run.config.finetune.is_wanted:
        _check_search(run)
        _check_retraining(run)
    elif not run.retrain_result.exists():  # later stages do not need the initial weights
        logger.info("what is fine-tuned: %s", run.source.origin["network"])
    _check_later_stages(run)


def claim(run: Run) -> None:
    """Write the dataset's fingerprint and the configuration into the run folder, or compare them with its files."""
    _check_dataset(run)
    if read_tf_config().is_chief:
        claim_run_dir(run.folder, run.config)


def _check_search(run: Run) -> None:
    """Refuse objectives, bounds and picks at which the search would fail, before anything is trained."""
    search = run.config.search
    costs = cost_table(run.config.space, run.config.data.image_size, run.data.num_classes)
    figures, goals = figures_and_goals(costs, **search.objective_settings(costs))
    check_known(figures, goals)
    if search.is_betanas:
        check_betanas(figures, search.betanas, run.config.supernet)
    check_picks_of(search.picks, run.config.space, ("accuracy", *figures.names))
    budget, greatest = search.max_multiply_adds, figures.bounds["multiply_adds"][1]
    begins = not (run.folder / "config.yaml").exists()  # logged once
    if begins and budget is not None and budget > greatest:
        logger.warning(
            "search.max_multiply_adds: %g M excludes nothing: the greatest network of the space costs %.2f M",
            budget / 1e6,
            greatest / 1e6,
        )


def _check_retraining(run: Run) -> None:
    pick, picks = run.config.retrain.pick, run.config.search.picks
    picks = 1 if run.config.search.is_betanas and not isinstance(picks, dict) else picks
    names = list(picks) if isinstance(picks, dict) else [str(i) for i in range(picks)]
    if pick != "best" and str(pick) not in names:
        raise InputError(f"retrain.pick: expected best or one of search.picks, {', '.join(names)}, got {pick!r}")
    if run.config.retrain.teacher is not None:
        load_teacher(run.config.retrain.teacher, run.input_shape, run.data.num_classes)


def _check_later_stages(run: Run) -> None:
    """Find errors now at which the last stages would fail after hours of training."""
    if run.config.export.warm_up:
        check_warm_up("export.warm_up")
    wanted = run.config.optimization
    if wanted.is_wanted:
        check_extra()
    names = ("finetune",) if run.config.finetune.is_wanted else ("supernet", "retrain")
    sections = {name: getattr(run.config, name) for name in names}
    sections |= {"optimization.quantization_aware": wanted.quantization_aware, "optimization.pruning": wanted.pruning}
    available = run.data.train.num_examples
    for section, settings in sections.items():
        if settings and settings.batch_size > available:
            raise InputError(
                f"{section}.batch_size: expected at most the {available} training images, got {settings.batch_size}"
            )


def _check_dataset(run: Run) -> None:
    """Compare the dataset with the fingerprint in the folder: images can change under an unchanged configuration."""
    path = run.folder / "dataset.json"
    found = dataset_figures(run.data)
    if not path.exists():
        if read_tf_config().is_chief:
            write_result(path, found)
        return
    try:
        known = read_json(path)
    except InputError as error:
        known = _known_again(run, found, error)
    if known != found:
        raise InputError(
            f"{run.folder}: the dataset has changed since the run began: fingerprint {known.get('fingerprint')} then,"
            f" {found['fingerprint']} now; restore it, or use another --run-dir"
        )


def _known_again(run: Run, found: dict[str, Any], error: InputError) -> dict[str, Any]:
    """The content of a damaged dataset.json, if the search's journal or the certificate confirms the dataset."""
    known = _fingerprints(run)
    if not known:
        raise InputError(
            f"{error}; if the images are those that the run began with, remove the file and start again"
        ) from error
    if known != {found["fingerprint"]}:
        return {"fingerprint": ", ".join(sorted(known))}
    logger.warning("%s; it is written again: the run's other files know the same dataset", error)
    if read_tf_config().is_chief:
        write_result(run.folder / "dataset.json", found)
    return found


def _fingerprints(run: Run) -> set[str]:
    """The dataset's fingerprints in the certificate and in the first line of the search's journal, if present."""
    found = set()
    with contextlib.suppress(InputError, KeyError, TypeError):
        found.add(str(read_json(run.certificate)["dataset"]["fingerprint"]))
    with contextlib.suppress(InputError, KeyError, TypeError):
        header = read_lines(run.folder / "search" / TRIALS)[0] or {}
        found.add(str(header["fingerprint"]["context"]["caller"]["dataset"]))
    return found


def dataset_figures(data: ImageData) -> dict[str, Any]:
    """Identity of a dataset and its division, in plain JSON types."""
    examples = {name: getattr(data, name).num_examples for name in ("train", "validation", "test")}
    return {"name": data.name, "classes": list(data.class_names), "examples": examples, "fingerprint": data.fingerprint}


def plain(value: Any) -> Any:
    """`value` in plain JSON types; a number that JSON cannot hold becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
