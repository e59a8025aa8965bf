"""Training curves of one stand-alone network with different kinds of skip in it (SCARLET-NAS v2, figure 3)."""

from __future__ import annotations

import dataclasses
import functools
import gc
import logging
import shutil

from scarlet_tf.assessment.store import Store
from scarlet_tf.cost import count_spec
from scarlet_tf.results import to_json
from scarlet_tf.space import Architecture
from scarlet_tf.spec import NetworkSpec
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.network import retrain
from studies import plots
from studies.summary import over_seeds
from studies.workshop import Workshop

logger = logging.getLogger("scarlet_tf")
_FIGURES = ["train_accuracy", "train_loss", "validation_accuracy", "validation_loss"]


def run(shop: Workshop) -> dict:
    """The table: a row for each kind of skip and seed, then means over seeds."""
    study, curves = shop.study, shop.study.sections["curves"]
    architecture = Architecture.parse(curves.architecture, study.space)
    rows, histories = [], []
    for seed in study.seeds:
        for skip in curves.skips:
            spec = architecture.lower(shop.input_shape, shop.data.num_classes, skip=skip)
            settings = dataclasses.replace(study.sections["retrain"], seed=seed)
            logger.info("%s: skips of kind %s, seed %d", study.name, skip, seed)
            found = _trained(shop, spec, settings, f"{skip}-seed{seed}")
            rows.append(_row(skip, seed, spec, found))
            histories.append({"skip": skip, "seed": seed, "history": found["history"]})
            table = shop.save(
                rows,
                over_seeds(rows, ["skip"], _FIGURES),
                len(rows) == len(study.seeds) * len(curves.skips),
                histories=histories,
            )
            plots.curves(shop.folder / "curves.png", histories)
    return table


def _trained(shop: Workshop, spec: NetworkSpec, settings: RetrainConfig, name: str) -> dict:
    known = {**dataclasses.asdict(settings), "network": spec.to_dict(), **shop.data_context}
    del known["checkpoint_seconds"]
    store = Store(shop.folder, name, known)
    work = store.folder / "training"
    found = store.get("figures", functools.partial(_train, shop, spec, settings, work))
    shutil.rmtree(work, ignore_errors=True)  # checkpoints; the figures are kept
    return found


def _train(shop: Workshop, spec: NetworkSpec, settings: RetrainConfig, work) -> dict:
    _, figures = retrain(spec, shop.data.train, shop.data.validation, settings, run_dir=work)
    gc.collect()
    return to_json(figures)


def _row(skip: str, seed: int, spec: NetworkSpec, found: dict) -> dict:
    last = found["history"][-1]
    return {
        "skip": skip,
        "seed": seed,
        "multiply_adds": count_spec(spec).multiply_adds,
        "train_accuracy": last["accuracy"],
        "train_loss": last["loss"],
        "validation_accuracy": found["validation"]["accuracy"],
        "validation_loss": found["validation"]["loss"],
    }
