"""The one training loop, for supernets and stand-alone networks, on one device or under a tf.distribute strategy.

`strategy.run` serves no strategy, MirroredStrategy and MultiWorkerMirroredStrategy alike, inside one tf.function unless the
step calls compiled functions itself. The loop drives Keras callbacks, saves checkpoints while it runs, and continues from the
newest one. Data, paths and dropout are functions of the seed and the step alone, so the run that was killed does the steps
that the run that was not would have done. Of several workers the chief writes; all read its checkpoints, so all must see
its folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import logging
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base.errors import InputError, WorkerLostError
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.evaluation import kernels  # noqa: F401 - puts TensorFlow's kernels to use
from scarlet_tf.evaluation.graphs import quick_to_first_step
from scarlet_tf.training.checkpoints import Checkpoints, as_array
from scarlet_tf.training.devices import distribute, is_chief, is_multi_worker, read_variables
from scarlet_tf.training.learning import Learning

logger = logging.getLogger("scarlet_tf")
LONG_WAIT_SECONDS, LONG_WAIT_SHARE = 1.0, 0.2
# A rehearsal times so many steps after the first at least, and for so many seconds; the least number that it is worth.
REHEARSED_STEPS, REHEARSED_SECONDS, LEAST_REHEARSED = 3, 1.0, 40


@dataclasses.dataclass
class Run:
    """Parts of a training run.

    Args:
        name: shown in front of the progress.
        model: the Keras model whose variables are trained and saved.
        optimizer: a built Keras optimizer.
        step: `step(images, labels, extra) -> {name: scalar}`, one replica's share of a step, which applies the
            gradients; scalars are shares whose sum over the replicas is the figure of the global batch.
        move: `move(gradients)`, one replica's share, which moves the weights of a step that returns `(gradients, figures)`
            instead of figures. It is traced, so gradients are to have one structure.
        compiled: whether the step is traced into one tf.function; else it calls compiled functions itself, and gets
            `extra` as an array.
        batches: `batches(epoch, skip_batches, shard) -> tf.data.Dataset` of one worker's slices of the global batches;
            `shard` is (index, count).
        batch_size: of a global batch.
        steps_per_epoch, epochs: how long.
        extra: `extra(step) -> array`, given to the step as a tensor; such as the paths of a fair step.
        settings: plain JSON that a checkpoint must agree with.
        folder: where checkpoints go; None keeps nothing.
        checkpoint_seconds: time between checkpoints; there is always one at the end, and on Ctrl-C.
        callbacks: Keras callbacks. What they remember themselves is not in the checkpoint, and the learning rate is the
            optimizer's schedule, which callbacks cannot change. Those that have `on_rehearsal(first, seconds)` are told
            before a long training what the step takes the first time and later: a few are tried on the first batch, for
            the callback's `rehearsal_seconds` if it has any, and all variables are put back. Not with several replicas or
            a `state`, nor for a callback whose `is_told` is False.
        on_epoch_end: `on_epoch_end(epoch) -> {name: figure}`, added to the epoch's logs, such as validation; not called for
            an epoch that a callback ended before its last step (`model.stop_training`), whose row says its "steps".
        on_stop: `on_stop() -> {name: value}`, added to the last row of the history when callbacks ended the training.
        after_step: `after_step(step, found) -> {name: figure}`: what becomes of the step's sums over the replicas, tensors;
            for whatever else is trained, on the host, by what a step finds. Figures are averaged over the steps that have
            them.
        state: what `after_step` changes, if anything: `get_state()` returns plain JSON, which checkpoints hold, and
            `set_state` takes it back.
        details: `details(epoch) -> plain JSON` that goes into the epoch's row of the history, and nowhere else.
        learning: judges losses; what it finds of a whole epoch goes into the epoch's row of the history, too.
        pause: `pause(step) -> bool`, asked before each step, counted from 0: True ends this call after a checkpoint, from which
            a later call with the same settings resumes as if there had been no pause. Not with several workers, which would
            have to agree.
        level: of the lines about epochs in the log.
    """

    name: str
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    step: Callable
    batches: Callable
    batch_size: int
    steps_per_epoch: int
    epochs: int
    learning: Learning
    extra: Callable = lambda step: np.zeros((), np.int32)
    settings: dict = dataclasses.field(default_factory=dict)
    folder: object = None
    checkpoint_seconds: float = 60.0
    callbacks: tuple = ()
    on_epoch_end: Callable = lambda epoch: {}
    on_stop: Callable = dict
    after_step: Callable = lambda step, found: {name: float(value) for name, value in found.items()}
    state: Any = None
    details: Callable = lambda epoch: {}
    pause: Callable[[int], bool] = lambda step: False
    level: int = logging.INFO
    strategy: tf.distribute.Strategy | None = None
    move: Callable[[Any], None] | None = None
    compiled: bool = True


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
        self.writes = is_chief(self.strategy)
        self.checkpoints = Checkpoints(run.folder) if run.folder else None
        self.settings = {**run.settings, "steps_per_epoch": run.steps_per_epoch, "epochs": run.epochs}
        self.history: list[dict] = []
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.step = 0
        self.stopped = False
        self.paused = False
        self._saved_at = time.monotonic()
        self._saved_state: tuple[int, int, bool] | None = None
        self._due = False
        self._whole = True  # False while variables, step and figures do not belong together

        self._one = self._distributed_step
        self._move = tf.function(self._distributed_move, autograph=False)
        if run.compiled:
            self._one = tf.function(self._one, reduce_retracing=True, autograph=False)

    def _distributed_step(self, images, labels, extra, due):
        shares = self.strategy.run(self.run.step, args=(images, labels, extra))
        if self.run.move is not None:
            gradients, shares = shares
            self._move(gradients)
        return self._sum({**shares, "due": self.strategy.run(lambda: tf.identity(due))})

    def _distributed_move(self, gradients) -> None:
        move = self.run.move
        assert move is not None
        # Arguments of a function are on no device, but sums over workers go by where their terms are.
        self.strategy.run(lambda given: move(tf.nest.map_structure(tf.identity, given)), args=(gradients,))

    def _sum(self, shares: dict) -> dict:
        return {k: self.strategy.reduce(tf.distribute.ReduceOp.SUM, v, axis=None) for k, v in shares.items()}

    def train(self) -> list[dict]:
        self._restore()
        run = self.run
        callbacks = keras.callbacks.CallbackList(list(run.callbacks), model=run.model)
        if self._finished or self._pauses():
            return self.history
        self._save()  # a folder that cannot be written shows before any time is spent
        with _seen_by_callbacks(run.model, run.optimizer), _lost_workers(run.name), quick_to_first_step():
            callbacks.on_train_begin()
            told = [each for each in run.callbacks if hasattr(each, "on_rehearsal") and getattr(each, "is_told", True)]
            self._rehearse(told)
            with progress_bar(run.name, run.epochs * run.steps_per_epoch, self.step) as bar:
                self._epochs(callbacks, bar)
            self._save()
            callbacks.on_train_end()
        return self.history

    @property
    def _finished(self) -> bool:
        return self.stopped or len(self.history) >= self.run.epochs

    def _pauses(self) -> bool:
        """True if the training pauses here: not between an epoch's last step and its figures."""
        is_open = self.step < (len(self.history) + 1) * self.run.steps_per_epoch
        self.paused = self.paused or (is_open and bool(self.run.pause(self.step)))
        return self.paused

    def _rehearse(self, callbacks: list) -> None:
        """Tells them the seconds of the step's first call and the mean of later ones, which other processes disturb, too."""
        run, epoch = self.run, len(self.history)
        few = run.epochs * run.steps_per_epoch - self.step < LEAST_REHEARSED
        if few or not callbacks or run.state or self.strategy.num_replicas_in_sync > 1:
            return
        batches = functools.partial(run.batches, epoch, self.step - epoch * run.steps_per_epoch)
        batch = next(iter(distribute(self.strategy, batches, run.batch_size)), None)
        if batch is None:  # the epoch's steps are done, its figures are not
            return
        images, labels = batch
        extra = run.extra(self.step)
        extra = tf.convert_to_tensor(extra) if run.compiled else extra
        kept = [as_array(variable).copy() for variable in self.variables.values()]  # not the memory that steps write to
        wanted = max(getattr(callback, "rehearsal_seconds", REHEARSED_SECONDS) for callback in callbacks)
        seconds: list[float] = []
        while len(seconds) <= REHEARSED_STEPS or sum(seconds[1:]) < wanted:
            began = time.perf_counter()
            float(self._one(images, labels, extra, tf.constant(0.0))["due"])
            seconds.append(time.perf_counter() - began)
        for variable, value in zip(self.variables.values(), kept, strict=True):
            variable.assign(value)
        for callback in callbacks:
            callback.on_rehearsal(seconds[0], statistics.mean(seconds[1:]))

    def _epochs(self, callbacks, bar) -> None:
        try:
            while not self._finished and not self._pauses():
                # An epoch is over when its figures are known, so one interrupted after its last step is ended first.
                self._epoch(len(self.history), callbacks, bar)
                if self.paused:
                    return
                self.stopped = bool(self.run.model.stop_training)  # set by callbacks
                if self.stopped:
                    self.history[-1] |= self.run.on_stop()
                self._save_if_due()
        except KeyboardInterrupt:
            if self._whole:
                self._save()
            raise

    def _epoch(self, epoch: int, callbacks, bar) -> None:
        run = self.run
        first = self.step - epoch * run.steps_per_epoch
        if first == 0:
            self.sums, self.counts = {}, {}
        callbacks.on_epoch_begin(epoch)
        batches = functools.partial(run.batches, epoch, first)
        left = run.steps_per_epoch - first
        began = time.monotonic()
        waits: list[float] = []
        for images, labels in _timed(itertools.islice(distribute(self.strategy, batches, run.batch_size), left), waits):
            self._one_step(images, labels, callbacks, bar)
            if run.model.stop_training or self._pauses():
                break
        _warn_of_waiting(run.name, waits, time.monotonic() - began)
        if self.paused:
            return
        done = self.step - epoch * run.steps_per_epoch
        whole = done == run.steps_per_epoch
        if not whole and not run.model.stop_training:
            raise InputError(
                f"{run.name}: the data ended after {done} of {run.steps_per_epoch} batches of epoch {epoch}"
            )
        # Known before its row is in the history: a checkpoint that Ctrl-C causes between the two must not be continued.
        self.stopped = not whole
        logs = {name: value / self.counts[name] for name, value in self.sums.items()}
        logs |= run.on_epoch_end(epoch) if whole else {}
        row = {"epoch": epoch, **({} if whole else {"steps": done}), **logs, **run.details(epoch)}
        logger.log(run.level, "%s epoch %d/%d %s", run.name, epoch + 1, run.epochs, _text(logs))
        self.history.append({**row, **(run.learning.judge(epoch, self.step, logs) if whole else {})})
        callbacks.on_epoch_end(epoch, logs)

    def _one_step(self, images, labels, callbacks, bar) -> None:
        in_epoch = self.step % self.run.steps_per_epoch
        callbacks.on_train_batch_begin(in_epoch)
        extra = self.run.extra(self.step)
        extra = tf.convert_to_tensor(extra) if self.run.compiled else extra
        with _interrupt_afterwards():
            self._whole = False
            due = tf.constant(float(self._is_due and self.writes))
            found = self._one(images, labels, extra, due)
            due = float(found.pop("due")) > 0  # the chief's clock decides: reading the variables takes every worker
            logs = self.run.after_step(self.step, found)
            self.run.learning.check_finite(self.step, logs)
            for name, value in logs.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1
            self.step += 1
            self._whole = True
        callbacks.on_train_batch_end(in_epoch, logs)
        bar.advance(1, **logs)
        self._due = due
        if self.step % self.run.steps_per_epoch:  # the last step of an epoch is saved with the epoch's figures
            self._save_if_due()

    @property
    def _is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.run.checkpoint_seconds

    def _save_if_due(self) -> None:
        if self._due:
            self._save()

    def _save(self) -> None:
        state = (self.step, len(self.history), self.stopped)
        if self.checkpoints is None or self._saved_state == state:
            return
        meta: dict = {"settings": self.settings, "history": self.history, "sums": self.sums, "counts": self.counts}
        meta |= {"stopped": self.stopped, "state": self.run.state.get_state() if self.run.state else None}
        values = [*read_variables(self.run.model, self.strategy), *self.run.optimizer.variables]
        if self.writes:
            self.checkpoints.save(self.step, dict(zip(self.variables, values, strict=True)), meta)
        self._saved_at, self._saved_state = time.monotonic(), state

    def _restore(self) -> None:
        if self.checkpoints is None:
            return
        meta = self.checkpoints.restore(self.variables, {"settings": self.settings})
        if meta:
            self.step, self.history, self.sums = meta["step"], meta["history"], meta["sums"]
            self.stopped = meta["stopped"]
            in_epoch = self.step - len(self.history) * self.run.steps_per_epoch
            self.counts = meta.get("counts", dict.fromkeys(self.sums, in_epoch))  # older checkpoints have none
            if self.run.state:
                self.run.state.set_state(meta["state"])
            self._saved_state = (self.step, len(self.history), self.stopped)
            logger.info("%s continues after step %d", self.run.name, self.step)
        self._check_agreement()

    def _check_agreement(self) -> None:
        """All workers must have found the same checkpoint."""
        if not is_multi_worker(self.strategy):
            return
        step = tf.constant(float(self.step))
        total = tf.function(lambda: self._sum({"step": self.strategy.run(lambda: tf.identity(step))}))()["step"]
        mean = float(total) / self.strategy.num_replicas_in_sync
        if mean != self.step:
            raise InputError(
                f"{self.run.folder}: this worker continues after step {self.step}, the mean of all after {mean}; every"
                " worker must see the same folder"
            )


@contextlib.contextmanager
def _seen_by_callbacks(model: keras.Model, optimizer) -> Iterator[None]:
    """The model as Keras' `fit` would show it to callbacks: with its optimizer, and not asked to stop."""
    before = getattr(model, "optimizer", None)
    model.optimizer, model.stop_training = optimizer, False
    try:
        yield
    finally:
        model.optimizer = before
        if before is None:  # as before `compile`; a saved model would hold the optimizer's variables
            del model.optimizer


def _timed(batches, waits: list[float]) -> Iterator:
    """The batches; `waits` gets the seconds that each took to come."""
    iterator = iter(batches)
    while True:
        asked = time.monotonic()
        try:
            batch = next(iterator)
        except StopIteration:
            return
        waits.append(time.monotonic() - asked)
        yield batch


def _warn_of_waiting(name: str, waits: list[float], seconds: float) -> None:
    """Says so when an epoch spent much of its time waiting for images; its start does not count."""
    waited = sum(waits[1:])
    if waited > LONG_WAIT_SECONDS and waited > LONG_WAIT_SHARE * seconds:
        logger.warning(
            "%s waited %.1f of %.1f s of this epoch for images: reading and preparing them takes longer than the step;"
            " more CPU cores, smaller files or less augmentation would help",
            name,
            waited,
            seconds,
        )


@contextlib.contextmanager
def _lost_workers(name: str) -> Iterator[None]:
    """Says what to do when another worker is gone; the collective operations of all others fail then."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise WorkerLostError(
            f"{name}: another worker is gone ({str(error).splitlines()[0]}); start all workers again: training continues"
            " from the last checkpoint"
        ) from error


@contextlib.contextmanager
def _interrupt_afterwards() -> Iterator[None]:
    """Holds back Ctrl-C to the end of the block; a second one comes through at once.

    Python would raise KeyboardInterrupt as soon as TensorFlow returns: the weights have moved, the step is not counted.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    came = []

    def note(*arguments):
        came.append(arguments)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _text(logs: dict) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in logs.items())
