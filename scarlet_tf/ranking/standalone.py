"""Accuracies of architectures that are each trained on their own."""

from __future__ import annotations

import dataclasses
import gc
import logging
import shutil
from collections.abc import Mapping, Sequence

from scarlet_tf.progress import Bar
from scarlet_tf.ranking.store import Store, name_of
from scarlet_tf.space import Architecture
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.network import retrain

logger = logging.getLogger("scarlet_tf")
_IMMATERIAL = ("checkpoint_seconds", "validate_every_epochs", "pick")


def train_alone(
    architectures: Sequence[Architecture],
    train_data,
    validation_data,
    settings: RetrainConfig,
    folder,
    input_shape: tuple[int, int, int],
    num_classes: int,
    context: Mapping | str | None = None,
) -> list[dict]:
    """{"accuracy", "loss", "num_examples", "steps"} of each architecture after its training, on the validation images.

    Results are kept in a folder of `folder`: an interrupted call resumes with the network in training, from its last
    checkpoint. `context`: plain JSON that names the data, to which the kept results belong.
    """
    plain = {key: value for key, value in dataclasses.asdict(settings).items() if key not in _IMMATERIAL}
    size = {"input_shape": list(input_shape), "num_classes": num_classes}
    spaces = sorted({architecture.space.fingerprint for architecture in architectures})
    store = Store(folder, "standalone", {**plain, **size, "spaces": spaces, "context": context})
    done = sum(store.known(name_of(architecture)) is not None for architecture in architectures)
    bar = Bar("stand-alone", len(architectures), done)  # lines only: each training shows its own bar
    results = []
    for architecture in architectures:
        name = name_of(architecture)
        work = store.folder / name
        figures = store.known(name)
        if figures is None:
            logger.info("stand-alone network %s (%d of %d)", architecture.to_string(), bar.done + 1, bar.total)
            figures = _train(architecture, train_data, validation_data, settings, work, size)
            store.put(name, figures)
            bar.advance(1, accuracy=figures["accuracy"])
        shutil.rmtree(work, ignore_errors=True)  # checkpoints; the figures are kept
        results.append(figures)
    return results


def _train(architecture: Architecture, train_data, validation_data, settings: RetrainConfig, work, size: dict) -> dict:
    _, figures = retrain(
        architecture,
        train_data,
        validation_data,
        settings,
        run_dir=work,
        input_shape=tuple(size["input_shape"]),
        num_classes=size["num_classes"],
    )
    gc.collect()  # the network's traced graphs refer to each other
    return {**figures["validation"], "steps": figures["steps"]}
