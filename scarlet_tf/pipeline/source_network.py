"""Start of a fine-tuning: a zoo network with weights from a file, a registered network, or that of another run."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping

from scarlet_tf.config import load_config
from scarlet_tf.errors import InputError
from scarlet_tf.export.certificate import digest
from scarlet_tf.files import read_json
from scarlet_tf.models.network import Network, load_network
from scarlet_tf.models.torch_weights import load_torch_weights
from scarlet_tf.models.zoo import build_zoo_network
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.models.zoo_folder import OwnEntry, find_own, zoo_names
from scarlet_tf.space import Architecture, SearchSpace
from scarlet_tf.training.checkpoints import values_digest
from scarlet_tf.training.config import FinetuneConfig
from scarlet_tf.training.tuning import check_part

logger = logging.getLogger("scarlet_tf")


@dataclasses.dataclass(frozen=True)
class SourceNetwork:
    """`origin` says where the network came from, `stated` is its own result.json, if it has one."""

    network: Network
    architecture: Architecture
    origin: dict
    stated: dict = dataclasses.field(default_factory=dict)


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
    file, stated = folder / "retrain" / "model.keras", read_json(folder / "retrain" / "result.json")
    architecture = Architecture.from_dict(stated["architecture"], load_config(folder / "config.yaml").space)
    origin = {"network": folder.name, "weights_sha256": digest(file)[1]}
    network = load_network(file, around=False)
    if not has_stated_weights(network, stated):
        raise InputError(f"{file}: its weights are not those that result.json beside it states; train it again")
    return SourceNetwork(network, architecture, origin, stated)


def has_stated_weights(network: Network, result: Mapping) -> bool:
    """True if a network has the weights that its training's result states; earlier versions state none."""
    return result.get("weights_sha256") in (None, values_digest(network.weights))
