"""BetaNAS' trainings and the networks that they find, kept in the studies' cache."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from scarlet_tf.assessment.store import Store, digest
from scarlet_tf.betanas.derive import derive
from scarlet_tf.betanas.importances import Phases
from scarlet_tf.betanas.training import train_betanas
from scarlet_tf.files import write_json
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.search.config import SearchConfig, evaluator_options
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.supernet import new_supernet
from studies.clock import CPU_FILE, CpuClock
from studies.workshop import Workshop


@dataclasses.dataclass(frozen=True)
class Found:
    """Result of a training.

    history: a row an epoch with alpha, trained and dropped_at [num_layers][num_choices]; phases: of its steps; network: the
    derived one, with its one-shot accuracy; cpu_seconds: of the training, None where they are not known.
    """

    history: list[dict]
    phases: Phases
    network: dict
    cpu_seconds: float | None


def find(shop: Workshop, config: SupernetConfig, search: SearchConfig) -> Found:
    """Train by BetaNAS, or resume, or read the cached result, and derive the network."""
    context = training_context(shop, config, search)
    folder = shop.cache / f"betanas-{digest(context)}"
    if not (folder / "settings.json").exists():
        write_json(folder / "settings.json", context)
    supernet = new_supernet(config, shop.study.space, shop.input_shape, shop.data.num_classes)
    clock = CpuClock(folder / CPU_FILE)
    trained = train_betanas(
        supernet, shop.data.train, shop.data.validation, config, search, run_dir=folder, callbacks=(clock,)
    )
    store = Store(shop.cache, "derived", {**context, **evaluator_options(search)})
    network = store.get("network", lambda: _network(shop, supernet, trained["importances"], search, store.folder))
    phases = Phases(trained["steps"], search.betanas)
    return Found(trained["history"], phases, network, clock.cpu_seconds(trained["steps"]))


def training_context(shop: Workshop, config: SupernetConfig, search: SearchConfig) -> dict:
    """Plain JSON that names a training: everything that its weights and importances depend on."""
    objectives = search.objectives().get_config()
    return {**shop.context(config), "betanas": dataclasses.asdict(search.betanas), "objectives": objectives}


def _network(
    shop: Workshop, supernet: Supernet, importances: Mapping, search: SearchConfig, folder: pathlib.Path
) -> dict:
    found = derive(supernet, importances, shop.data.validation, search, folder, recalibration_data=shop.data.train)
    return found.picks[0].to_dict()
