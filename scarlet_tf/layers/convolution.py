"""Conv2D and DepthwiseConv2D: Keras' layers; a backend's kernels may compute them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import keras

KINDS = ("pointwise", "depthwise")
_kernels: dict[tuple[str, str], Callable] = {}


def use_kernel(backend: str, kind: str, kernel: Callable) -> None:
    """Use a kernel, which has its own gradients, under that Keras backend.

    pointwise: `kernel(x, weights [1, 1, C, D]) -> [B, H, W, D]`; depthwise: `kernel(x, weights [k, k, C, 1], stride,
    padding) -> y`, padding "same" or "valid". x [B, H, W, C] in the layer's compute dtype.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {KINDS}, got {kind!r}")
    _kernels[backend, kind] = kernel


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """Context in which these layers are Keras' own convolutions: graphs traced in it do not depend on registered kernels.

    Exported graphs need that: a 1x1 convolution that training computes as a matrix product is to be a convolution for the
    runtimes that read the file.
    """
    kept = dict(_kernels)
    _kernels.clear()
    try:
        yield
    finally:
        _kernels.update(kept)


def _is_plain(layer) -> bool:
    """True for the case that kernels cover: square strides, channels last, and nothing after the convolution."""
    nothing_else = not layer.use_bias and layer.activation is keras.activations.linear
    return nothing_else and layer.data_format == "channels_last" and len(set(layer.strides)) == 1


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Conv2D(keras.layers.Conv2D):
    """keras.layers.Conv2D; the same arguments, weights and results."""

    def call(self, inputs):
        kernel = _kernels.get((keras.backend.backend(), "pointwise"))
        pointwise = set(self.kernel_size) == {1} and set(self.strides) == {1} and self.groups == 1
        if kernel is None or not pointwise or not _is_plain(self):
            return super().call(inputs)
        return kernel(inputs, self.kernel)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """keras.layers.DepthwiseConv2D; the same arguments, weights and results."""

    def call(self, inputs):
        kernel = _kernels.get((keras.backend.backend(), "depthwise"))
        one_filter = self.depth_multiplier == 1 and set(self.dilation_rate) == {1}
        if kernel is None or not one_filter or not _is_plain(self):
            return super().call(inputs)
        return kernel(inputs, self.kernel, self.strides[0], self.padding)
