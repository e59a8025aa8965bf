"""The one training loop, for supernets and stand-alone networks, on one device or under a tf.distribute strategy.

`strategy.run` inside one tf.function serves no strategy, MirroredStrategy and more alike. The loop drives Keras
callbacks, saves checkpoints while it runs, and continues from the newest one: the run that was killed ends with the
weights of the run that was not, because data, paths and dropout are functions of the seed and the step alone.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.errors import InputError
from scarlet_tf.progress import progress_bar
from scarlet_tf.training.checkpoints import Checkpoints

logger = logging.getLogger("scarlet_tf")


@dataclasses.dataclass
class Run:
    """What a training run consists of.

    Args:
        name: shown in front of the progress.
        model: the Keras model whose variables are trained and saved.
        optimizer: a built Keras optimizer.
        step: `step(images, labels, extra) -> {name: scalar}`, one replica's share of a step, which applies the
            gradients; scalars are shares whose sum over the replicas is the figure of the global batch.
        batches: `batches(epoch, skip_batches) -> tf.data.Dataset` of global batches.
        steps_per_epoch, epochs: how long.
        extra: `extra(step) -> array`, given to the step as a tensor; such as the paths of a fair step.
        settings: plain JSON that a checkpoint must agree with.
        folder: where checkpoints go; None keeps nothing.
        checkpoint_seconds: time between checkpoints; there is always one at the end, and on Ctrl-C.
        callbacks: Keras callbacks.
        on_epoch_end: `on_epoch_end(epoch) -> {name: figure}`, added to the epoch's logs, such as validation.
    """

    name: str
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    step: Callable
    batches: Callable
    steps_per_epoch: int
    epochs: int
    extra: Callable = lambda step: np.zeros((), np.int32)
    settings: dict = dataclasses.field(default_factory=dict)
    folder: object = None
    checkpoint_seconds: float = 60.0
    callbacks: tuple = ()
    on_epoch_end: Callable = lambda epoch: {}
    strategy: tf.distribute.Strategy | None = None


def train(run: Run) -> list[dict]:
    """Trains to the end, from the newest checkpoint if there is one; returns each epoch's figures."""
    if run.steps_per_epoch < 1:
        raise InputError(f"{run.name}: batch_size: it is larger than the number of training images")
    return _Trainer(run).train()


def named_variables(model, optimizer) -> dict:
    """All variables of a run under unique names: weights, statistics, random states and optimizer slots."""
    # The first part of a path is Keras' running name ("supernet_3"), which says how many were made before; slots of
    # the optimizer carry it in their own names.
    weights = {f"model:{i:05d}:{v.path.partition('/')[2]}": v for i, v in enumerate(model.variables)}
    return weights | {f"optimizer:{i:05d}": v for i, v in enumerate(optimizer.variables)}


class _Trainer:
    def __init__(self, run: Run):
        self.run = run
        self.strategy = run.strategy or tf.distribute.get_strategy()
        self.variables = named_variables(run.model, run.optimizer)
        self.checkpoints = Checkpoints(run.folder) if run.folder else None
        self.settings = {**run.settings, "steps_per_epoch": run.steps_per_epoch, "epochs": run.epochs}
        self.history: list[dict] = []
        self.sums: dict[str, float] = {}
        self.step = 0
        self.stopped = False
        self._saved_at = time.monotonic()
        self._saved_step = None

    @tf.function(reduce_retracing=True)
    def _distributed_step(self, images, labels, extra):
        shares = self.strategy.run(self.run.step, args=(images, labels, extra))
        return {k: self.strategy.reduce(tf.distribute.ReduceOp.SUM, v, axis=None) for k, v in shares.items()}

    def train(self) -> list[dict]:
        self._restore()
        run = self.run
        callbacks = keras.callbacks.CallbackList(list(run.callbacks), model=run.model)
        total = run.epochs * run.steps_per_epoch
        if self.step >= total or self.stopped:
            return self.history
        self._save()  # a folder that cannot be written shows before any time is spent
        callbacks.on_train_begin()
        with progress_bar(run.name, total, self.step) as bar:
            try:
                while self.step < total and not self.stopped:
                    self._epoch(self.step // run.steps_per_epoch, callbacks, bar)
                    self.stopped = bool(getattr(run.model, "stop_training", False))  # set by callbacks
                    self._save_if_due()
            except KeyboardInterrupt:
                self._save()
                raise
        self._save()
        callbacks.on_train_end()
        return self.history

    def _epoch(self, epoch: int, callbacks, bar) -> None:
        run = self.run
        first = self.step - epoch * run.steps_per_epoch
        if first == 0:
            self.sums = {}
        callbacks.on_epoch_begin(epoch)
        dataset = run.batches(epoch, first).take(run.steps_per_epoch - first)
        for images, labels in self.strategy.experimental_distribute_dataset(dataset):
            self._one_step(images, labels, callbacks, bar)
        done = self.step - epoch * run.steps_per_epoch
        if done != run.steps_per_epoch:
            raise InputError(
                f"{run.name}: the data ended after {done} of {run.steps_per_epoch} batches of epoch {epoch}"
            )
        logs = {name: value / run.steps_per_epoch for name, value in self.sums.items()}
        logs |= run.on_epoch_end(epoch)
        self.history.append({"epoch": epoch, **logs})
        logger.info("%s epoch %d/%d %s", run.name, epoch + 1, run.epochs, _text(logs))
        callbacks.on_epoch_end(epoch, logs)

    def _one_step(self, images, labels, callbacks, bar) -> None:
        in_epoch = self.step % self.run.steps_per_epoch
        callbacks.on_train_batch_begin(in_epoch)
        extra = tf.convert_to_tensor(self.run.extra(self.step))
        logs = {k: float(v) for k, v in self._distributed_step(images, labels, extra).items()}
        if not np.isfinite(logs["loss"]):
            raise InputError(
                f"{self.run.name}: the loss became {logs['loss']} at step {self.step}: lower the learning rate "
                f"(or lengthen the warm-up); the last checkpoint is kept"
            )
        for name, value in logs.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.step += 1
        callbacks.on_train_batch_end(in_epoch, logs)
        bar.advance(1, **logs)
        if self.step % self.run.steps_per_epoch:  # the last step of an epoch is saved with the epoch's figures
            self._save_if_due()

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= self.run.checkpoint_seconds:
            self._save()

    def _save(self) -> None:
        if self.checkpoints is None or self._saved_step == self.step:
            return
        meta = {"settings": self.settings, "history": self.history, "sums": self.sums, "stopped": self.stopped}
        self.checkpoints.save(self.step, self.variables, meta)
        self._saved_at, self._saved_step = time.monotonic(), self.step

    def _restore(self) -> None:
        if self.checkpoints is None:
            return
        meta = self.checkpoints.restore(self.variables, {"settings": self.settings})
        if meta:
            self.step, self.history, self.sums = meta["step"], meta["history"], meta["sums"]
            self.stopped = meta["stopped"]
            self._saved_step = self.step
            logger.info("%s continues after step %d", self.run.name, self.step)


def _text(logs: dict) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in logs.items())
