"""Attachments of train_supernet to the training loop: forecast, monitor and log files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from scarlet_tf.errors import InputError
from scarlet_tf.evaluation.inputs import as_split
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.training.footprint import least_activation_bytes
from scarlet_tf.training.forecast import Forecast
from scarlet_tf.training.log_files import log_callbacks
from scarlet_tf.training.memory import gpu_names, variable_bytes
from scarlet_tf.training.monitor import FIGURES, Monitor

if TYPE_CHECKING:
    from scarlet_tf.training.config import SupernetConfig

logger = logging.getLogger("scarlet_tf")


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
    columns = ("accuracy", "loss", *(FIGURES if monitor else ()))
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
