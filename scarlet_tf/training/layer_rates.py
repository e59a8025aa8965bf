"""Optimizers in which each variable has a learning rate of its own: the schedule's, times a factor."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf


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
