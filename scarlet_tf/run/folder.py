"""Run: a run folder, which one process at a time works in, with its configuration, its dataset and its results."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import logging
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from scarlet_tf.base import host
from scarlet_tf.base.cluster import read_tf_config, search_role
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import TEMPORARY, locked, read_json
from scarlet_tf.config import Config, check_run_dir, claim_run_dir, load_config
from scarlet_tf.data.datasets import ImageData, load_dataset
from scarlet_tf.data.inputs import plain as without_policy
from scarlet_tf.evaluation.scoring import beside_chance, evaluate
from scarlet_tf.models.network import Network, load_network
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.results import (
    Certificate,
    Dataset,
    InputSizes,
    NetworkResult,
    OptimizedResult,
    RaceResult,
    Result,
    Score,
    SupernetResult,
)
from scarlet_tf.search.journal import TRIALS, read_lines
from scarlet_tf.search.run import SearchResult, read_front
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.training.checkpoints import values_digest

logger = logging.getLogger("scarlet_tf")
T = TypeVar("T", bound=Result | SearchResult)
# Files and folders that a run writes. Nothing else is touched: the user's folder may hold other files, too.
_PLACES = (
    "",
    "supernet",
    "search",
    "search/sizes",
    "search/sizes/*",
    "retrain",
    "optimize",
    "optimize/*",
    "export",
    "export/saved_model",
    "race",
    "race/*",
    "race/*/retrain",
    "ranking",
    "ranking/*",
    "ranking/*/*/retrain",
    "compare",
    "compare/searches/*",
)


class Run:
    """A run folder: its files' paths, the results of its stages, and what stages of one process share.

    `max_hours`: each training, of the supernet and of the picked network, and the search end within this time; None sets
    no limit. `adb`: the serial and benchmark_model of an AdbRunner, which then measures latencies. Both belong to the call,
    not to the run: the folder does not record them.
    """

    def __init__(
        self, config: Config, folder, strategy=None, max_hours: float | None = None, adb: Mapping | None = None
    ):
        host.check()
        self.config = self.stated = config
        self.strategy = strategy
        self.max_hours = max_hours
        self.adb = adb
        self.callbacks: tuple = ()  # of the supernet's training
        self.trained: tuple[Supernet, SupernetResult] | None = None  # see `trained_supernet`
        self.source: Any = None  # the network to fine-tune; see Finetuning
        self.folder = pathlib.Path(folder)
        self.network_file = self.folder / "retrain" / "model.keras"
        self.optimize_folder = self.folder / "optimize"
        self.quantized_file = self.optimize_folder / "model_int8_qat.tflite"
        self.pruned_file = self.optimize_folder / "model_pruned.keras"
        self.export_folder = self.folder / "export"
        self.timing = self.folder / "timing.json"
        self._results: dict[type, Any] = {}
        self._other_data: dict[int, ImageData] = {}
        if config.search.input_sizes:
            with contextlib.suppress(InputError):  # if it is damaged, the search finds it again
                if found := self.find(InputSizes):
                    self.use_size(found.chosen)

    def use_size(self, size: int) -> None:
        """Let the run's images have this side in pixels, from now on; `stated` keeps the configuration as it was given."""
        if size != self.config.data.image_size:
            data = dataclasses.replace(self.config.data, image_size=size)
            space = dataclasses.replace(self.config.space, input_size=size)
            self.config = dataclasses.replace(self.config, data=data, space=space)
            self.trained = None
            self._forget()

    def at_size(self, size: int) -> Run:
        """The run with images of another size, for a measurement: its results are not this one's."""
        other = copy.copy(self)
        other._results, other._other_data = {}, {}
        other.use_size(size)
        return other

    @functools.cached_property
    def of_supernet(self) -> Run:
        """The run with the images and the space that its supernet has, see Config.of_supernet; itself if they are its own."""
        config = self.config.of_supernet
        if config is self.config:
            return self
        other = copy.copy(self)
        other._forget()
        other.config, other._results = config, {}
        other.data = self.data_at(config.data.image_size)
        return other

    def _forget(self) -> None:
        for name in ("data", "of_supernet"):
            self.__dict__.pop(name, None)

    def file(self, kind: type[T]) -> pathlib.Path:
        """Path of a kind of result."""
        return self.folder / kind.FILE

    def get(self, kind: type[T]) -> T:
        """A result: as this process made it, or as first read from its file; InputError if it is missing or damaged."""
        if kind not in self._results:
            read: Callable[..., Any] = read_front if issubclass(kind, SearchResult) else kind.read
            self._results[kind] = read(self.folder, self.config.space)
        return self._results[kind]

    def find(self, kind: type[T]) -> T | None:
        """Like `get`, but None if there is no file."""
        return self.get(kind) if self.file(kind).exists() else None

    def keep(self, result: Result | SearchResult) -> None:
        """Write a result, for this process and later ones; the search writes its own."""
        self.note(result if isinstance(result, SearchResult) else result.write(self.folder, self.config.space))

    def note(self, result: Result | SearchResult) -> None:
        """Hold a result that is written already for later stages of this process."""
        self._results[type(result)] = result

    def discard(self, kind: type[T]) -> None:
        """Remove a result that belongs to an earlier one than its inputs."""
        self.file(kind).unlink(missing_ok=True)
        self._results.pop(kind, None)

    @functools.cached_property
    def data(self) -> ImageData:
        return load_dataset(self.config.data)

    @property
    def has_raced(self) -> bool:
        """True if a race was begun."""
        return self.file(RaceResult).parent.exists()

    def data_at(self, size: int | None) -> ImageData:
        """The same images at another size in pixels; None for the run's own."""
        if size is None or size == self.config.data.image_size:
            return self.data
        if size not in self._other_data:
            self._other_data[size] = load_dataset(dataclasses.replace(self.config.data, image_size=size))
        return self._other_data[size]

    def shape_at(self, size: int | None) -> tuple[int, int, int]:
        """(height, width, channels) of the images at a size."""
        return self.input_shape if size is None else (size, size, 3)

    @property
    def network_data(self) -> ImageData:
        """The images at the size of the network that was trained on its own."""
        return self.data_at(self.get(NetworkResult).input_size)

    @property
    def costs(self) -> CostTable:
        """Costs of the space's networks for the run's images and classes."""
        return cost_table(self.config.space, self.config.data.image_size, self.data.num_classes)

    @property
    def plain_train(self):
        """The training images without the strong distortions and the mixing that retraining alone uses."""
        return without_policy(self.data.train)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        size = self.config.data.image_size
        return (size, size, 3)

    def score(self, model: Network, batch_size: int) -> Score:
        """Accuracy of a trained network on the test images, beside chance; a warning if it is no better."""
        test = self.data_at(model.spec.input_shape[0]).test
        found = Score(**beside_chance(evaluate(model, test.batches(batch_size)), test.labels))
        if found.warning:
            logger.warning("%s", found.warning)
        return found

    @functools.cached_property
    def network(self) -> Network:
        """The retrained network."""
        return self._load(self.network_file, NetworkResult)

    @functools.cached_property
    def pruned_network(self) -> Network:
        """The folded network after pruning."""
        return self._load(self.pruned_file, OptimizedResult)

    def _load(self, path: pathlib.Path, kind: type[NetworkResult] | type[OptimizedResult]) -> Network:
        """Load a network, whose weights the result of this kind states."""
        remedy = f"remove {self.file(kind)} and start again: the network is restored from its last checkpoint"
        try:
            network = load_network(path, around=False)
        except InputError as error:
            raise InputError(f"{path}: missing or torn; {remedy}") from error
        stated = self.find(kind)
        if stated is not None and not has_weights(network, stated.weights_sha256):
            raise InputError(f"{path}: its weights are not those that {self.file(kind)} states; {remedy}")
        return network


def has_weights(network: Network, sha256: str | None) -> bool:
    """True if a network has the weights of this digest; earlier versions state none."""
    return sha256 in (None, values_digest(network.weights))


def is_run(path) -> bool:
    """True if `path` is a run's folder."""
    return (pathlib.Path(path) / "config.yaml").exists()


def open_existing(folder) -> Run:
    """The run in a folder, without reading its dataset; InputError if it is not a run folder."""
    folder = pathlib.Path(folder)
    if not is_run(folder):
        raise InputError(
            f"{folder}: expected a run folder with config.yaml, which `scarlet run CONFIG` makes{from_here(folder)}"
        )
    return Run(load_config(folder / "config.yaml"), folder)


def from_here(path: pathlib.Path) -> str:
    """A hint for messages about a relative path that does not exist."""
    return "" if path.is_absolute() else f"; looked for {path.absolute()}, for the path counts from the current folder"


def claim(run: Run) -> None:
    """Write the dataset's fingerprint and the configuration into the run folder, or compare them with its files."""
    check_run_dir(run.folder, run.stated)
    _check_dataset(run)
    if read_tf_config().is_chief:
        claim_run_dir(run.folder, run.stated)


def described(data: ImageData) -> Dataset:
    """Identity of a dataset and its division."""
    examples = {name: getattr(data, name).num_examples for name in ("train", "validation", "test")}
    return Dataset(data.name, tuple(map(str, data.class_names)), examples, data.fingerprint)


def _check_dataset(run: Run) -> None:
    """Compare the dataset with the fingerprint in the folder: images can change under an unchanged configuration."""
    found = described(run.data)
    try:
        known = run.find(Dataset)
    except InputError as error:
        known = _known_again(run, found, error)
    if known is None:
        if read_tf_config().is_chief:
            run.keep(found)
    elif known != found:
        raise InputError(
            f"{run.folder}: the dataset has changed since the run began: fingerprint {known.fingerprint} then,"
            f" {found.fingerprint} now; restore it, or use another --run-dir"
        )


def _known_again(run: Run, found: Dataset, error: InputError) -> Dataset | None:
    """None for a damaged dataset.json if the search's journal or the certificate confirms the dataset, else theirs."""
    known = _fingerprints(run)
    if not known:
        raise InputError(
            f"{error}; if the images are those that the run began with, remove the file and start again"
        ) from error
    if known != {found.fingerprint}:
        return Dataset(found.name, found.classes, found.examples, ", ".join(sorted(known)))
    logger.warning("%s; it is written again: the run's other files know the same dataset", error)
    return None


def _fingerprints(run: Run) -> set[str]:
    """The dataset's fingerprints in the certificate and in the first line of the search's journal, if present."""
    found = set()
    with contextlib.suppress(InputError, KeyError, TypeError):
        found.add(str(read_json(run.file(Certificate))["dataset"]["fingerprint"]))
    with contextlib.suppress(InputError, KeyError, TypeError):
        header = read_lines(run.folder / "search" / TRIALS)[0] or {}
        found.add(str(header["fingerprint"]["context"]["caller"]["dataset"]))
    return found


@contextlib.contextmanager
def alone_in(folder) -> Iterator[None]:
    """Refuse a folder that another process works in; the system releases the lock when a process ends for any reason.

    Half-written files of a killed process are removed.
    """
    folder = pathlib.Path(folder)
    with locked(folder) as is_ours:
        if not is_ours:
            raise InputError(
                f"{folder}: another process is at work in this run folder; wait for it, or use another --run-dir"
            )
        for place in _PLACES if search_role() == "alone" else ():  # workers may be writing
            for path in folder.glob(str(pathlib.PurePath(place, f".*.????????{TEMPORARY}"))):
                _remove(path)
        yield


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
