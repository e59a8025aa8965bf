"""Activation: Keras' layer, whose hard swish a backend's kernel may compute."""

from __future__ import annotations

from collections.abc import Callable

import keras

_kernels: dict[str, Callable] = {}


def use_kernel(backend: str, kernel: Callable) -> None:
    """Has `kernel(x) -> y` compute hard swish under that Keras backend; it brings its own gradient."""
    _kernels[backend] = kernel


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Activation(keras.layers.Activation):
    """keras.layers.Activation; the same arguments and results."""

    def call(self, inputs):
        kernel = _kernels.get(keras.backend.backend())
        if kernel is None or self.activation is not keras.activations.hard_silu:
            return super().call(inputs)
        return kernel(inputs)
