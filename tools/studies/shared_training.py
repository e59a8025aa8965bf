"""Training of a few networks that share one supernet's weights, a step for one of them at a time."""

from __future__ import annotations

import dataclasses
import functools
import gc
import shutil
from collections.abc import Sequence

import numpy as np

from scarlet_tf.assessment.store import Store, name_of
from scarlet_tf.data.inputs import training_batches
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.space import Architecture
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.learning import Learning, Reference
from scarlet_tf.training.loop import Run, train
from scarlet_tf.training.optimizers import Loss
from scarlet_tf.training.supernet import new_supernet, supernet_optimizer
from studies.settings import SharingConfig
from studies.workshop import Workshop


def train_group(
    shop: Workshop, networks: Sequence[Architecture], config: SupernetConfig, sharing: SharingConfig
) -> dict:
    """{"steps": [T], "accuracies": [T][n]} of n networks trained in one supernet, measured T times.

    steps: each network's own steps so far, `config.epochs` epochs' worth at the end, however many share the
    supernet; the learning rate's schedule and its warm-up extend over the group's own steps. accuracies: on the
    validation images, BN recalibrated for each network. Equal seeds mean equal initial weights, whatever the group. The
    figures are kept in the cache; an interrupted training resumes from its last checkpoint.
    """
    measurement = {
        "measure_every": sharing.measure_every,
        "recalibration_batches": sharing.recalibration_batches,
        "batch_size": sharing.batch_size,
    }
    known = {**shop.context(config), "networks": [name_of(network) for network in networks], "measured": measurement}
    store = Store(shop.cache, "sharing", known)
    work = store.folder / "training"
    found = store.get("figures", functools.partial(_train, shop, networks, config, sharing, work))
    shutil.rmtree(work, ignore_errors=True)  # checkpoints; the figures are kept
    gc.collect()  # the graphs of a supernet no longer needed refer to each other
    return found


def turn(networks: Sequence[Architecture], seed: int, step: int) -> np.ndarray:
    """int32 [1, num_layers]: the network whose turn it is, a pure function of the arguments.

    Every n steps each of the n networks has its turn once, in a newly drawn order, so that at a measurement all have had
    equally many. [reading] Uniform draws, as in BetaNAS, would be equal in the mean only.
    """
    cycle, place = divmod(step, len(networks))
    order = np.random.default_rng((seed, cycle)).permutation(len(networks))
    return np.array([networks[order[place]].choices], np.int32)


def _train(shop: Workshop, networks: Sequence[Architecture], config: SupernetConfig, sharing: SharingConfig, work):
    data, size = shop.data, len(networks)
    steps = data.train.steps_per_epoch(config.batch_size)
    supernet = new_supernet(config, shop.study.space, shop.input_shape, data.num_classes)
    optimizer = supernet_optimizer(config, steps * size, config.epochs * steps * size)
    optimizer.build(supernet.trainable_variables)
    evaluator = Evaluator(
        supernet,
        data.validation,
        recalibration_data=data.train,
        recalibration_batches=sharing.recalibration_batches,
        batch_size=sharing.batch_size,
    )

    def measure(epoch: int) -> dict:
        own, rest = divmod(epoch + 1, size)
        if rest or own % sharing.measure_every:
            return {}
        evaluator.forget()
        evaluator.begin_generation(networks)
        return {name_of(network): evaluator.evaluate(network)["accuracy"] for network in networks}

    # A loop's epoch has as many steps as the images have batches, the warm-up counts those of the whole group.
    in_epochs_of_the_loop = dataclasses.replace(config, warmup_epochs=config.warmup_epochs * size)
    reference = Reference.of(data.train, data.num_classes, config.label_smoothing)
    loss = Loss(data.num_classes, config.batch_size, config.label_smoothing)
    run = Run(
        name=f"{size} in one supernet" if size > 1 else "one alone",
        model=supernet,
        optimizer=optimizer,
        step=SupernetStep(supernet, optimizer, loss, "sequential", config.weight_decay, clip_norm=config.clip_norm),
        batches=functools.partial(training_batches, data.train, config.batch_size, config.seed),
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        epochs=config.epochs * size,
        learning=Learning("supernet", in_epochs_of_the_loop, reference, folder=work),
        extra=functools.partial(turn, networks, config.seed),
        folder=work,
        checkpoint_seconds=config.checkpoint_seconds,
        on_epoch_end=measure,
        compiled=False,
    )
    measured = [row for row in train(run) if name_of(networks[0]) in row]
    return {
        "steps": [(row["epoch"] + 1) * steps // size for row in measured],
        "accuracies": [[row[name_of(network)] for network in networks] for row in measured],
    }
