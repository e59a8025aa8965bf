"""Networks that enter or leave a run: a search's picks, the source of a fine-tuning, entries of the user's zoo folder."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import to_plain
from scarlet_tf.config import DATA_KEYS, load_config
from scarlet_tf.export.certificate import digest
from scarlet_tf.models.network import Network, load_network
from scarlet_tf.models.torch_weights import load_torch_weights
from scarlet_tf.models.zoo import build_zoo_network
from scarlet_tf.models.zoo_data import ZOO, OwnEntry, add_own, check_new_name, find_own, zoo_names
from scarlet_tf.results import Dataset, NetworkResult, to_json
from scarlet_tf.run.folder import Run, has_weights, open_existing
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.config import FinetuneConfig
from scarlet_tf.training.network_step import check_part

logger = logging.getLogger("scarlet_tf")


def find_pick(found: SearchResult, wanted: int | str) -> Candidate:
    """The network of a search that `wanted` names: "best", or a pick's index or name; InputError where there is none.

    "best" is the first of the front `by_score`; see `scarlet_tf.search.front.best_of`.
    """
    if wanted == "best":
        if not found.pareto:
            raise InputError(
                "retrain.pick: best is the network of the best score within the search's bounds, and none that was evaluated is"
                f" within them; expected one of the search's picks, {', '.join(found.names) or 'of which there are none'}"
            )
        return found.best
    if not found.picks:
        raise InputError(
            "search.picks: no network of the front meets any of them, see pareto.json; change them, and retrain.pick, in a"
            " run folder with a copy of search/, or name another budget"
        )
    if str(wanted) not in found.names:
        raise InputError(
            f"retrain.pick: expected best or one of the search's picks, {', '.join(found.names)}, got {wanted!r}"
        )
    return found.picks[found.names.index(str(wanted))]


@dataclasses.dataclass(frozen=True)
class SourceNetwork:
    """A network to fine-tune.

    `origin` says where it came from; `lineage` is that of its own training's result, in plain JSON types, if it has one.
    """

    network: Network
    architecture: Architecture
    origin: Mapping[str, Any]
    lineage: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def load_source(wanted: FinetuneConfig, space: SearchSpace, input_shape: tuple[int, int, int]) -> SourceNetwork:
    """The network that `wanted.network` names; InputError if it, its weights or its parts are missing or do not fit."""
    name = str(wanted.network)
    if name in ZOO:
        source = _from_zoo(name, wanted, input_shape)
    elif own := find_own(name):
        source = _from_own(own, wanted.weights)
    else:
        source = _from_run(pathlib.Path(name), wanted.weights)
    found = dataclasses.replace(source.architecture.space, input_size=space.input_size)
    if found != space:
        raise InputError(f"space: expected that of finetune.network, {found.name}, got {space.name}")
    check_part(source.network.spec, wanted.train_from)
    return source


def _from_zoo(name: str, wanted: FinetuneConfig, input_shape: tuple[int, int, int]) -> SourceNetwork:
    weights = wanted.weights
    is_keras = weights is None or weights.endswith((".h5", ".keras"))
    network = build_zoo_network(name, include_top=False, weights=weights if is_keras else None, input_shape=input_shape)
    if weights is None:
        logger.warning("finetune.weights: none are given, so %s starts from random ones", name)
        network = Network(network.spec, seed=wanted.seed)  # the same weights when it resumes
    elif not is_keras:
        load_torch_weights(network, weights, skip_classifier=True)
    origin = {"network": name, "weights_sha256": digest(weights)[1] if weights else None}
    return SourceNetwork(network, ZOO[name].architecture, origin)


def _from_own(entry: OwnEntry, weights: str | None) -> SourceNetwork:
    if weights is not None:
        raise InputError(f"finetune.weights: expected none with {entry.name}, which has its own, got {weights!r}")
    if entry.source is None:
        raise InputError(f"finetune.network: expected one with weights; {entry.name} was added without them")
    stated = entry.source["result"]
    architecture = Architecture.from_dict(stated["architecture"], SearchSpace.from_dict(entry.source["space"]))
    origin = {"network": entry.name, "weights_sha256": digest(entry.weights_file)[1]}
    return SourceNetwork(load_network(entry.weights_file, around=False), architecture, origin, stated)


def _from_run(folder: pathlib.Path, weights: str | None) -> SourceNetwork:
    if weights is not None:
        raise InputError(f"finetune.weights: expected none with {folder}, a run folder with its own, got {weights!r}")
    if not (folder / "config.yaml").exists():
        raise InputError(
            f"finetune.network: expected a run folder with config.yaml or one of {', '.join(zoo_names())}, got {folder}"
        )
    file, space = folder / "retrain" / "model.keras", load_config(folder / "config.yaml").space
    result = NetworkResult.read(folder, space)
    origin = {"network": folder.name, "weights_sha256": digest(file)[1]}
    network = load_network(file, around=False)
    if not has_weights(network, result.weights_sha256):
        raise InputError(f"{file}: its weights are not those that result.json beside it states; train it again")
    return SourceNetwork(network, result.architecture, origin, result.lineage)


def register_network(name: str, run_dir, pick: int | str | None = None) -> OwnEntry:
    """Add a network of the run folder `run_dir` to the user's zoo folder, from which `build_zoo_network` builds it.

    pick None: the retrained network with its weights, or, if none was retrained yet, the search's best; else that
    network of the search ("best", a pick's index or its name) as searched, without weights. Raises InputError if the
    folder holds no such network, or the name is bad or taken.
    """
    check_new_name(name)
    run = open_existing(run_dir)
    if pick is None and (retrained := run.find(NetworkResult)):
        return _add_retrained(name, run, retrained)
    found = run.find(SearchResult)
    if found is None:
        raise InputError(f"{run_dir}: expected a run that was searched, with {SearchResult.FILE}")
    picked = find_pick(found, "best" if pick is None else pick)
    classes = len(run.get(Dataset).classes)
    spec = picked.architecture.lower(run.input_shape, classes, dropout=run.config.retrain.dropout)
    return add_own(name, spec, _origin(run, picked.architecture, picked.accuracy))


def _add_retrained(name: str, run: Run, retrained: NetworkResult) -> OwnEntry:
    origin = {
        **_origin(run, retrained.architecture, retrained.one_shot_accuracy),
        "init": retrained.init,
        "scaling": to_json(retrained.scaling),
        "test_examples": retrained.test.num_examples,
        "top1": 100 * retrained.test.accuracy,
    }
    data = {key: to_plain(run.config.data)[key] for key in DATA_KEYS}
    if retrained.input_size is not None:
        data["image_size"] = origin["preprocessing"]["image_size"] = retrained.input_size
    source = {"space": run.config.space.to_dict(), "data": data, "result": retrained.lineage}
    return add_own(name, run.network.spec, origin, run.network_file, source)


def _origin(run: Run, architecture: Architecture, one_shot_accuracy: float | None) -> dict[str, Any]:
    """The entry of a network that was not trained on its own; a fine-tuned one was in no supernet."""
    data, dataset = to_plain(run.config.data), run.get(Dataset)
    return {
        "run": run.folder.resolve().as_posix(),
        "space": architecture.space.name,
        "architecture": architecture.to_string(),
        "dataset": dataset.name,
        "labels": list(dataset.classes),
        "preprocessing": {key: data[key] for key in ("image_size", "crop_fraction", "normalization", "resizing")},
        "init": None,
        "scaling": None,
        "test_examples": None,
        "top1": None,
        "one_shot_accuracy": None if one_shot_accuracy is None else 100 * one_shot_accuracy,
    }
