"""train_supernet: trains all paths of a supernet fairly, resumable at any step."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Literal

import tensorflow as tf

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import as_settings
from scarlet_tf.base.words import gibibytes
from scarlet_tf.data.inputs import as_split, training_batches
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training import memory
from scarlet_tf.training.checkpoints import log_callbacks
from scarlet_tf.training.config import IMMATERIAL, SupernetConfig
from scarlet_tf.training.devices import is_chief
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.forecast import Deadline, Forecast, closing_figures
from scarlet_tf.training.learning import Learning, Reference
from scarlet_tf.training.loop import Run, train
from scarlet_tf.training.memory import gpu_names, least_activation_bytes, out_of_memory_explained, variable_bytes
from scarlet_tf.training.monitor import FIGURES, Monitor
from scarlet_tf.training.optimizers import Loss, MomentumSGD, make_schedule
from scarlet_tf.training.sampling import paths_of_a_step, sample_paths


def new_supernet(config: SupernetConfig, space, input_shape, num_classes: int) -> Supernet:
    """The untrained supernet that `config` describes: its skip, seed and precision."""
    return Supernet(space, input_shape, num_classes, skip=config.skip, seed=config.seed, dtype=config.precision)


def train_supernet(
    supernet: Supernet,
    train_data,
    config: SupernetConfig | dict | None = None,
    strategy: tf.distribute.Strategy | None = None,
    run_dir=None,
    callbacks=(),
    validation_data=None,
    max_hours: float | None = None,
) -> dict:
    """Trains `supernet` in place and returns {"history": one dict an epoch, "steps": how many were done}.

    A training that `max_hours` ended has "stopped": "max_hours" besides, also in the history's last row; one with a
    monitor has "monitor": whether its ranking can be trusted. A row whose epoch began after the warm-up and whose mean
    loss is not below that of constant class frequencies has "not_learning": {"text", "loss", "constant", "try": values by
    key}, and so has the result where that row is the last. The frequencies are those of the labels of `train_data`; a
    tf.data.Dataset does not tell its own, and ln(num_classes), which none exceed, is taken.

    Args:
        train_data: a split, a batched tf.data.Dataset of (images [B, H, W, C], labels [B]), or a pair of arrays; labels
            are class numbers below the supernet's num_classes.
        config: a SupernetConfig or its fields.
        strategy: a tf.distribute strategy in whose scope the supernet was made; batch_size is the global one.
        run_dir: checkpoints go to `<run_dir>/supernet`; called again, training continues from the newest one.
        callbacks: Keras callbacks.
        validation_data: held-out images for the monitor, as `train_data`; needed where config.monitor_paths is not 0.
        max_hours: training ends within this time, see Deadline; the learning rate's schedule is not rescaled to it.

    Raises InputError for bad values, when the folder holds another run's checkpoints, when the loss is no longer finite,
    and, after a few steps, when the machine's memory will not suffice.
    """
    host.check()
    config = resolved(supernet, config)
    if config.epochs == 0:
        if supernet.started_from is None:
            raise InputError(
                "supernet.epochs: expected at least 1 without a parent, whose weights it begins with, got 0"
            )
        return {"history": [], "steps": 0}
    strategy = strategy or tf.distribute.get_strategy()
    data = as_split(train_data, supernet.num_classes)
    run = new_run(supernet, data, config, strategy, run_dir, callbacks, max_hours)
    writes = is_chief(strategy)
    monitor = make_monitor(supernet, run.optimizer, config, data, validation_data, run.folder, writes)
    run = with_watchers(run, config, max_hours, monitor)
    if monitor:
        run = dataclasses.replace(run, on_epoch_end=monitor.on_epoch_end)
    return {**carry_out(run, config), **close(monitor)}


def resolved(supernet: Supernet, config: SupernetConfig | Mapping | None) -> SupernetConfig:
    """The configuration with the execution that it leaves open chosen."""
    config = as_settings(SupernetConfig, config)
    return dataclasses.replace(config, execution=choose_execution(supernet, config))


def new_run(
    supernet: Supernet,
    data,
    config: SupernetConfig,
    strategy: tf.distribute.Strategy,
    run_dir=None,
    callbacks=(),
    max_hours: float | None = None,
    update_steps: int | None = None,
) -> Run:
    """A supernet's training, not begun; see `train_supernet`.

    `update_steps`: how many of all steps move weights, where not all do; the learning rate's schedule counts these.
    """
    steps = data.steps_per_epoch(config.batch_size)
    deadline = Deadline("supernet", max_hours, steps, config.epochs, strategy)
    with strategy.scope():
        optimizer = supernet_optimizer(config, steps, config.epochs * steps if update_steps is None else update_steps)
        optimizer.build(supernet.trainable_variables)
        step = SupernetStep(
            supernet,
            optimizer,
            Loss(supernet.num_classes, config.batch_size, config.label_smoothing),
            config.execution,
            config.weight_decay,
            num_replicas=strategy.num_replicas_in_sync,
            jit_compile=config.jit_compile,
            training=not config.freeze_bn,
            clip_norm=config.clip_norm,
            shared=config.sampling == "sandwich",
            distillation=config.distillation,
        )
    folder = None if run_dir is None else f"{run_dir}/supernet"
    num_random = config.sandwich_random
    num_paths = paths_of_a_step(config.sampling, supernet.space, num_random)
    reference = Reference.of(data, supernet.num_classes, config.label_smoothing)
    apart = step.moves_apart and config.sampling == "strict_fair"
    return Run(
        name="supernet",
        model=supernet,
        optimizer=optimizer,
        step=step.gradients if apart else step,
        move=step.move if apart else None,
        batches=functools.partial(training_batches, data, config.batch_size, config.seed),
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        epochs=config.epochs,
        learning=Learning("supernet", config, reference, num_paths, folder if is_chief(strategy) else None),
        extra=lambda step: sample_paths(config.sampling, supernet.space, config.seed, step, num_random),
        settings=_settings(config, supernet),
        folder=folder,
        checkpoint_seconds=config.checkpoint_seconds,
        callbacks=(*callbacks, deadline),
        on_stop=deadline.reason,
        strategy=strategy,
        compiled=step.compiled,
    )


def with_watchers(
    run: Run,
    config: SupernetConfig,
    max_hours: float | None,
    monitor: Monitor | None = None,
    phase_of: Callable[[int], str] = lambda step: "",
) -> Run:
    """The training with its log files and its forecast, which times the steps of each phase."""
    strategy = run.strategy or tf.distribute.get_strategy()
    replicas, writes = strategy.num_replicas_in_sync, is_chief(strategy)
    watching = watchers(
        run.model,
        run.optimizer,
        config,
        monitor,
        run.steps_per_epoch,
        run.folder,
        replicas,
        max_hours,
        writes,
        phase_of,
    )
    *callbacks, deadline = run.callbacks
    return dataclasses.replace(run, callbacks=(*callbacks, *watching, deadline))


def carry_out(run: Run, config: SupernetConfig) -> dict:
    """Trains; {"history", "steps"} and, where the training was ended, "stopped"."""
    with out_of_memory_explained("supernet", memory_advice(config)):
        history = train(run)
    return {"history": history, **closing_figures(history, run.steps_per_epoch)}


def supernet_optimizer(config: SupernetConfig, steps_per_epoch: int, total_steps: int) -> MomentumSGD:
    """SGD with the learning rate's schedule over `total_steps` steps, not yet built."""
    schedule = make_schedule(
        config.schedule,
        config.learning_rate,
        total_steps,
        round(config.warmup_epochs * steps_per_epoch),
        decay_steps=steps_per_epoch,
    )
    return MomentumSGD(learning_rate=schedule, momentum=float(config.momentum))


def _settings(config: SupernetConfig, supernet: Supernet) -> dict:
    """Settings that a checkpoint must match for training to continue from it."""
    settings = dataclasses.asdict(config)
    for key in IMMATERIAL:
        del settings[key]
    made = {
        "skip": supernet.skip,
        "precision": supernet.dtype_policy.name,
        "space": supernet.space.fingerprint,
        "num_classes": supernet.num_classes,
    }
    # A key only where there is one: checkpoints from before have none.
    started = {} if supernet.started_from is None else {"parent": supernet.started_from}
    return {**settings, **made, **started}


# -- Choice of a supernet's execution if its configuration leaves that open ----------------------------------------


logger = logging.getLogger("scarlet_tf")

# Peak memory of a step as lanes over `least_activation_bytes`: 2.6 GB over 0.32 GB for S1, 64 px, batch 32
# (`python tools/bench_fair_step.py`); graph and gradients are in it.
LANES_OVER_LEAST = 8
# Of the machine's memory: the rest is for weights, images and everybody else.
SHARE = 0.5


def choose_execution(supernet: Supernet, config: SupernetConfig) -> Literal["sequential", "lanes"]:
    """`config.execution`, and for "auto" the quicker one that fits: lanes where their memory surely suffices.

    That is judged by what the machine has, not by what is free, so that a resumed run continues as it began. A
    GPU's memory cannot be asked for beforehand, so there, as for uniform and sandwich sampling, it is sequential.
    """
    if config.execution != "auto":
        return config.execution
    if config.jit_compile:
        return "lanes"
    if config.sampling != "strict_fair" or memory.gpu_names():
        return "sequential"
    needed = LANES_OVER_LEAST * least_activation_bytes(supernet, config.batch_size, "lanes")
    chosen: Literal["sequential", "lanes"] = "lanes" if needed <= SHARE * memory.limit_bytes() else "sequential"
    text = "supernet execution: %s, since lanes may need %s of the %s of memory"
    logger.info(text, chosen, gibibytes(needed), gibibytes(memory.limit_bytes()))
    return chosen


# -- Attachments of train_supernet to the training loop: forecast, monitor and log files ---------------------------


def make_monitor(
    supernet: Supernet,
    optimizer,
    config: SupernetConfig,
    train,
    validation_data,
    folder,
    writes: bool = True,
) -> Monitor | None:
    """The Monitor that `config.monitor_paths` asks for, or None; InputError when it has no images to score on.

    `writes`: False in all workers but the chief.
    """
    if not config.monitor_paths:
        return None
    if validation_data is None:
        raise InputError(f"supernet.monitor_paths: expected 0 without validation_data, got {config.monitor_paths}")
    validation = as_split(validation_data, supernet.num_classes)
    file = None if folder is None else f"{folder}/monitor.json"
    return Monitor(supernet, optimizer, config, train, validation, file, writes)


def watchers(
    supernet: Supernet,
    optimizer,
    config: SupernetConfig,
    monitor: Monitor | None,
    steps_per_epoch: int,
    folder,
    num_replicas: int = 1,
    max_hours: float | None = None,
    writes: bool = True,
    phase_of: Callable[[int], str] = lambda step: "",
) -> list:
    """The Keras callbacks that a supernet's training has besides the user's: log files as configured, and a Forecast.

    `writes`: False in all workers but the chief. `phase_of`: see Forecast.
    """
    columns = ("accuracy", *(["cross_entropy"] if config.distillation else []), "loss", *(FIGURES if monitor else ()))
    logs = log_callbacks("supernet", config.tensorboard and writes, config.csv and writes, folder, columns)
    # A GPU's memory cannot be asked for beforehand; there TensorFlow says so itself when it does not suffice.
    least = least_activation_bytes(supernet, config.batch_size, config.execution, num_replicas)
    forecast = Forecast(
        "supernet",
        steps_per_epoch,
        config.epochs,
        memory_advice(config),
        least_bytes=0 if gpu_names() else least,
        later_bytes=variable_bytes(supernet, optimizer) + (monitor.image_bytes() if monitor else 0),
        max_hours=max_hours,
        phase_of=phase_of,
    )
    return [*logs, forecast]


def memory_advice(config: SupernetConfig) -> str:
    """Advice for a step that needs less memory."""
    advice = f"a supernet.batch_size smaller than {config.batch_size}"
    if config.execution == "lanes":
        advice = "supernet.execution: sequential, which keeps one path at a time instead of all, or " + advice
    return advice


def close(monitor: Monitor | None) -> dict:
    """{"monitor": the verdict}, said in the log if this process measured anything; {} without a monitor."""
    if monitor is None:
        return {}
    found = monitor.verdict()
    if monitor.measured:
        logger.info("supernet monitor: %s", found["text"])
    return {"monitor": found}
