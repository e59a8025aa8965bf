"""Optimizers and learning-rate schedules, from a few named values."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation.scoring import targets_and_classes

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
class MomentumSGD(keras.optimizers.SGD):
    """keras.optimizers.SGD; the same arguments and results. What Keras does in four operations it does in one.

    `slots`: {variable path: its momentum variable}, empty where momentum is 0.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.slots = {}
        self._slots_of_values = {}

    def build(self, variables):
        super().build(variables)
        if not self.momentums:  # Keras makes none where momentum is 0
            return
        self.slots = {v.path: m for v, m in zip(variables, self.momentums, strict=True)}
        # `update_step` is handed TensorFlow's variable, under a strategy one replica's, not Keras'.
        strategy = tf.distribute.get_strategy()
        for variable, momentum in zip(variables, self.momentums, strict=True):
            for local in strategy.experimental_local_results(variable.value):
                self._slots_of_values[local.ref()] = momentum

    def update_step(self, gradient, variable, learning_rate):
        momentum = self._slots_of_values.get(variable.ref())
        if momentum is None or self.nesterov:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = tf.cast(gradient, variable.dtype)
        move(variable.handle, momentum.value.handle, gradient, learning_rate, self.momentum)


def clipped(gradients: list, clip_norm: float, num_replicas: int = 1) -> list:
    """The gradients, all scaled by one factor where their norm, of all of them together, is above `clip_norm`; 0: as they are.

    Of several replicas, whose gradients the optimizer will sum, the norm is that of the sums; Keras' own `global_clipnorm`
    would clip each replica's share.
    """
    if not clip_norm:
        return gradients
    whole = gradients
    if num_replicas > 1:
        whole = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    norm = tf.linalg.global_norm([tf.cast(g, tf.float32) for g in whole])
    factor = clip_norm / tf.maximum(norm, clip_norm)
    return [g * tf.cast(factor, g.dtype) for g in gradients]


def move(handle, slot, gradient, learning_rate, momentum: float):
    """One move of SGD as Keras makes it, in one operation: accum = momentum * accum - rate * gradient; var += accum."""
    rate = tf.cast(learning_rate, gradient.dtype)
    if slot is None:
        return tf.raw_ops.ResourceApplyGradientDescent(var=handle, alpha=rate, delta=gradient)
    momentum = tf.cast(momentum, gradient.dtype)
    return tf.raw_ops.ResourceApplyKerasMomentum(var=handle, accum=slot, lr=rate, grad=gradient, momentum=momentum)


# -- Optimizers in which each variable has a learning rate of its own: the schedule's, times a factor --------------


class LayerRates:
    """Mixin in front of a Keras optimizer. What a step adds to a variable is scaled, not its gradient.

    Scaled gradients would change nothing where an optimizer divides by their size, as RMSprop and Adam do.
    """

    _factors: Mapping = {}

    def set_rates(self, factors: Mapping[str, float], variables) -> None:
        """`factors`: {path of a variable: factor}, 1 where there is none; call it in the strategy's scope."""
        # `update_step` is handed TensorFlow's variable, under a strategy one replica's, not Keras'.
        strategy = tf.distribute.get_strategy()
        self._factors = {
            local.ref(): factors.get(variable.path, 1.0)
            for variable in variables
            for local in strategy.experimental_local_results(variable.value)
        }

    def update_step(self, gradient, variable, learning_rate):
        factor = self._factors.get(variable.ref(), 1.0)
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]  # of the optimizer behind


class LayerwiseSGD(LayerRates, keras.optimizers.SGD):
    """keras.optimizers.SGD with `set_rates`."""


class LayerwiseRMSprop(LayerRates, keras.optimizers.RMSprop):
    """keras.optimizers.RMSprop with `set_rates`."""


class LayerwiseAdamW(LayerRates, keras.optimizers.Adam):
    """AdamW with `set_rates`, which scale the decay, too; it concerns kernels alone, variables of two and more axes.

    Keras' own AdamW decays all variables at the schedule's rate.
    """

    def __init__(self, learning_rate, decay: float, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.decay = decay

    def update_step(self, gradient, variable, learning_rate):
        if self.decay and len(variable.shape) > 1:
            rate = tf.cast(learning_rate * self._factors.get(variable.ref(), 1.0), variable.dtype)
            variable.assign_sub(variable * (rate * self.decay))
        super().update_step(gradient, variable, learning_rate)


# -- The training loss, as one replica's share of the global batch's -----------------------------------------------

LOSS_SCALE = 1024.0


def loss_scale(policy: str) -> float:
    """The factor by which gradients are larger on their way back under a dtype policy: 1, but for float16.

    Small ones would vanish there. Nothing adapts it: where a gradient is then beyond 65,504, the next loss is not finite, which
    ends a training.
    """
    return LOSS_SCALE if policy in ("float16", "mixed_float16") else 1.0


def unscaled(gradients: list, scale: float) -> list:
    """The gradients, divided by what the loss was multiplied by."""
    return [g / tf.cast(scale, g.dtype) for g in gradients] if scale != 1.0 else gradients


class Loss:
    """Softmax cross-entropy with label smoothing, summed over images and divided by the global batch size."""

    def __init__(self, num_classes: int, global_batch_size: int, label_smoothing: float = 0.0):
        self.num_classes = num_classes
        self.global_batch_size = global_batch_size
        self._entropy = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=label_smoothing, reduction="sum"
        )

    def __call__(self, labels, logits):
        """Labels int [B] or shares float [B, num_classes], logits [B, num_classes] -> (loss, accuracy).

        Both are this replica's shares, scalars. An answer is right that names the class with the greatest share.
        """
        targets, classes = targets_and_classes(labels, self.num_classes)
        loss = self._entropy(targets, logits) / self.global_batch_size
        hits = tf.equal(tf.argmax(logits, axis=-1, output_type=classes.dtype), classes)
        return loss, tf.reduce_sum(tf.cast(hits, tf.float32)) / self.global_batch_size


class InPlaceLoss:
    """Loss of a path that also learns from another path's predictions: in-place distillation (arXiv:1903.05134).

    Args:
        loss: of the labels.
    """

    def __init__(self, loss: Loss):
        self.loss = loss

    def __call__(self, labels, predicted, weight, logits):
        """(loss, accuracy, cross-entropy, predictions float32 [B, num_classes]); the first three as Loss gives them.

        The loss is (1 - weight) times the cross-entropy plus weight, a scalar, times that against `predicted` [B, num_classes],
        the other path's predictions, which are not smoothed.
        """
        entropy, accuracy = self.loss(labels, logits)
        logarithms = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        against_predicted = -tf.reduce_sum(predicted * logarithms) / self.loss.global_batch_size
        return (1 - weight) * entropy + weight * against_predicted, accuracy, entropy, tf.exp(logarithms)
