"""train_supernet: trains all paths of a supernet fairly, resumable at any step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from scarlet_tf import host
from scarlet_tf.evaluation.inputs import as_split, training_batches
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.settings import as_settings
from scarlet_tf.training.config import IMMATERIAL, SupernetConfig
from scarlet_tf.training.deadline import Deadline, closing_figures
from scarlet_tf.training.distribution import is_chief
from scarlet_tf.training.execution import choose_execution
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.learning import Learning, Reference
from scarlet_tf.training.loop import Run, train
from scarlet_tf.training.losses import Loss
from scarlet_tf.training.memory import out_of_memory_explained
from scarlet_tf.training.monitor import Monitor
from scarlet_tf.training.optimizers import MomentumSGD, make_schedule
from scarlet_tf.training.sampling import sample_paths
from scarlet_tf.training.watching import close, make_monitor, memory_advice, watchers


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
    key}, and so has the answer where that row is the last. The frequencies are those of the labels of `train_data`; a
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
            clip_norm=config.clip_norm,
        )
    folder = None if run_dir is None else f"{run_dir}/supernet"
    num_paths = supernet.space.num_choices if config.sampling == "strict_fair" else 1
    reference = Reference.of(data, supernet.num_classes, config.label_smoothing)
    return Run(
        name="supernet",
        model=supernet,
        optimizer=optimizer,
        step=step,
        batches=functools.partial(training_batches, data, config.batch_size, config.seed),
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        epochs=config.epochs,
        learning=Learning("supernet", config, reference, num_paths, folder if is_chief(strategy) else None),
        extra=lambda step: sample_paths(config.sampling, supernet.space, config.seed, step),
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
    return {**settings, **made}
