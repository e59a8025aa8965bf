"""Activation: Keras' layer; a backend's kernel may compute hard swish."""

from __future__ import annotations

from collections.abc import Callable

import keras

_kernels: dict[str, Callable] = {}


def use_kernel(backend: str, kernel: Callable) -> None:
    """Use `kernel(x) -> y`, which has its own gradient, for hard swish under that Keras backend."""
    _kernels[backend] = kernel


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Activation(keras.layers.Activation):
    """keras.layers.Activation; the same arguments and results."""

    def call(self, inputs):
        kernel = _kernels.get(keras.backend.backend())
        if kernel is None or self.activation is not keras.activations.hard_silu:
            return super().call(inputs)
        return kernel(inputs)
