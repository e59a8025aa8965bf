"""Optimizers and learning-rate schedules, from a few named values."""

from __future__ import annotations

import keras
import tensorflow as tf

from scarlet_tf.errors import InputError

SCHEDULES = ("cosine", "exponential", "constant")


def make_schedule(
    kind: str,
    learning_rate: float,
    total_steps: int,
    warmup_steps: int = 0,
    decay_rate: float = 0.97,
    decay_steps: int = 1,
):
    """Linear warm-up from 0 to `learning_rate`, then cosine to 0, staircase `decay_rate`, or constant."""
    if kind not in SCHEDULES:
        raise InputError(f"schedule: expected one of {SCHEDULES}, got {kind!r}")
    if kind == "cosine":
        rest = max(1, total_steps - warmup_steps)
        after = keras.optimizers.schedules.CosineDecay(learning_rate, rest)
    elif kind == "exponential":
        after = keras.optimizers.schedules.ExponentialDecay(
            learning_rate, max(1, decay_steps), decay_rate, staircase=True
        )
    else:
        after = learning_rate
    return WarmUp(learning_rate, warmup_steps, after) if warmup_steps else after


@keras.saving.register_keras_serializable(package="scarlet_tf")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `learning_rate` over `steps` steps, then follows `after` counted from there."""

    def __init__(self, learning_rate: float, steps: int, after):
        self.learning_rate = learning_rate
        self.steps = steps
        self.after = after

    def __call__(self, step):
        ops = keras.ops
        step = ops.cast(step, "float32")
        rising = self.learning_rate * (step + 1.0) / self.steps
        later = self.after(ops.maximum(step - self.steps, 0.0)) if callable(self.after) else self.after
        return ops.where(step < self.steps, rising, later)

    def get_config(self):
        after = keras.saving.serialize_keras_object(self.after) if callable(self.after) else self.after
        return {"learning_rate": self.learning_rate, "steps": self.steps, "after": after}

    @classmethod
    def from_config(cls, config):
        after = config["after"]
        after = keras.saving.deserialize_keras_object(after) if isinstance(after, dict) else after
        return cls(config["learning_rate"], config["steps"], after)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class SelectiveSGD(keras.optimizers.SGD):
    """SGD with momentum that leaves chosen variables entirely alone for a step: no update, decay or momentum.

    Under uniform sampling a choice that was not drawn gets no update at all; a gradient of zero would still let
    momentum move it. `select` says before `apply` which variables take part.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._active = {}
        self._slots = {}

    def build(self, variables):
        super().build(variables)
        # `update_step` is handed TensorFlow's variable, under a strategy one replica's, not Keras'.
        strategy = tf.distribute.get_strategy()
        momentums = self.momentums or [None] * len(variables)  # Keras makes none where momentum is 0
        for variable, momentum in zip(variables, momentums, strict=True):
            for local in strategy.experimental_local_results(variable.value):
                self._slots[local.ref()] = (variable.path, momentum)

    def select(self, active) -> None:
        """`active`: {variable path: scalar boolean tensor}; variables that it does not name always take part."""
        self._active = active

    def update_step(self, gradient, variable, learning_rate):
        path, momentum = self._slots[variable.ref()]
        active = self._active.get(path)
        gradient, learning_rate = tf.cast(gradient, variable.dtype), tf.cast(learning_rate, variable.dtype)
        if active is None and momentum is not None and not self.nesterov:
            # What Keras does in four operations, each of which passes over the weights, in one.
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=momentum.value.handle,
                lr=learning_rate,
                grad=gradient,
                momentum=tf.cast(self.momentum, variable.dtype),
            )
            return
        if active is None:
            super().update_step(gradient, variable, learning_rate)
            return
        moved = -learning_rate * gradient
        if momentum is not None:
            moved = self.momentum * momentum + moved
            self.assign(momentum, tf.where(active, moved, momentum))
        self.assign_add(variable, tf.where(active, moved, tf.zeros_like(moved)))
