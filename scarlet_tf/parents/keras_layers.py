"""Reading of a Keras graph's layers one after another: what each computes, with which weights, which size it leaves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import Arrays
from scarlet_tf.parents.keras_graph import PROBE_SIDE, TOLERANCE, Call, Graph
from scarlet_tf.space.spec import PADDINGS

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "relu6": lambda x: np.clip(x, 0, 6),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
}


@dataclasses.dataclass(frozen=True)
class Scaling:
    """A model's own scaling in front of its first convolution: scale * x + offset, per channel of the images.

    reverses: it also reverses the order of the channels.
    """

    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)
    reverses: bool = False

    @property
    def changes(self) -> bool:
        """False if values come out as they went in, within rounding."""
        return not np.allclose((self.scale, self.offset), (np.ones(3), np.zeros(3)), rtol=0, atol=TOLERANCE)


@dataclasses.dataclass(frozen=True, eq=False)
class Unit:
    """A convolution or dense layer with the batch normalisation and the activation after it ("linear": none).

    `arrays` have the names that follow our layer's: "/kernel", "/bias", "_bn/gamma", ...
    """

    layer: keras.layers.Layer
    out: keras.KerasTensor
    activation: str
    arrays: Arrays

    @property
    def channels(self) -> int:
        return self.out.shape[-1]

    @property
    def is_depthwise(self) -> bool:
        return isinstance(self.layer, keras.layers.DepthwiseConv2D)


class LayerReader:
    """Reads layers of `graph`, whose images have `size` (height, width), and remembers what it has read.

    Every method takes the tensor that the layer reads and raises InputError for a layer of another kind.

    `paddings` are the conventions that fit all convolutions so far; `norm` is epsilon and momentum of the first batch
    normalisation.
    """

    def __init__(self, graph: Graph, size: tuple[int, int]):
        self.graph, self.paddings = graph, set(PADDINGS)
        self.norm: tuple[float, float] = (0.0, 0.0)
        self._size, self._seen = size, set[int]()

    def check_all_seen(self) -> None:
        """InputError names the first layer that was not read."""
        for call in self.graph.calls:
            if id(call) not in self._seen:
                raise self.graph.error(
                    call.layer, "expected a chain of inverted residual blocks, of which it is no part"
                )

    def front(self, image) -> tuple[keras.KerasTensor, Scaling]:
        """(The tensor that the first convolution reads, what was done to the image before.)"""
        probe = np.random.default_rng(0).uniform(0, 255, (2, PROBE_SIDE, PROBE_SIDE, 3)).astype(np.float32)
        tensor, value, calls = self.graph.elementwise(image, probe)
        self._mark(*calls)
        if not calls:
            return tensor, Scaling()
        pixels = np.c_[probe.reshape(-1, 3), np.ones(probe.size // 3)].astype(np.float64)
        channels = value.reshape(-1, 3).astype(np.float64)
        found = np.linalg.lstsq(pixels, channels, rcond=None)[0]
        tolerance = TOLERANCE * np.abs(found[:3]).max()
        for reverses in (False, True):
            by_image = found[:, ::-1] if reverses else found
            scale = np.diag(by_image[:3])
            mixed = np.abs(by_image[:3] - np.diag(scale)).max()
            off = np.abs(pixels @ found - channels).max()
            if (scale > tolerance).all() and mixed < tolerance and off < 255 * tolerance:
                return tensor, Scaling(tuple(scale.tolist()), tuple(by_image[3].tolist()), reverses)
        reason = (
            "expected a positive scale and an offset for each channel in front of the first convolution, and no more"
        )
        raise self.graph.error(calls[0].layer, reason)

    def convolution(self, tensor) -> Unit:
        """A Conv2D or DepthwiseConv2D, perhaps after a ZeroPadding2D, with its batch normalisation and activation."""
        kinds = (keras.layers.ZeroPadding2D, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        call = self._next(tensor, kinds, "a convolution")
        zeros = ((0, 0), (0, 0))
        if isinstance(call.layer, keras.layers.ZeroPadding2D):
            zeros, call = call.layer.padding, self._next(call.output, kinds[1:], "a convolution")
        layer = call.layer
        sides, strides = set(layer.kernel_size), set(layer.strides)
        others = {*layer.dilation_rate, getattr(layer, "groups", 1), getattr(layer, "depth_multiplier", 1)}
        if len(sides) > 1 or len(strides) > 1 or min(sides) % 2 == 0 or others != {1}:
            reason = (
                "expected an odd, square kernel, one stride for both sides, no dilation, groups or multiplier of depth"
            )
            raise self.graph.error(layer, reason)
        if layer.data_format != "channels_last":
            raise self.graph.error(layer, f"expected channels_last, got {layer.data_format}")
        values = np.linspace(-8, 8, 17, dtype=np.float32)
        if not np.array_equal(_array(layer.activation(values)), values):
            raise self.graph.error(layer, "expected its activation after the batch normalisation")
        self._pad(layer, zeros)
        norm = self._next(call.output, (keras.layers.BatchNormalization,), "batch normalisation")
        arrays = {"/kernel": _array(layer.kernel)} | self._normalization(norm.layer, layer)
        out, activation = self._activation(norm.output, norm.layer)
        return Unit(layer, out, activation, arrays)

    def dense(self, tensor) -> Unit:
        """A dense layer of a pooled tensor, or a 1x1 convolution as one, with its activation."""
        call = self._next(tensor, (keras.layers.Dense, keras.layers.Conv2D), "a dense layer")
        layer = call.layer
        if isinstance(layer, keras.layers.Conv2D) and (layer.kernel_size, layer.groups) != ((1, 1), 1):
            raise self.graph.error(layer, "expected a dense layer or a 1x1 convolution of the pooled tensor")
        kernel = _array(layer.kernel)
        kernel = kernel.reshape(*kernel.shape[-2:])
        bias = _array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[1], np.float32)
        out, activation = self._activation(call.output, layer, layer.activation)
        return Unit(layer, out, activation, {"/kernel": kernel, "/bias": bias})

    def pool(self, tensor, function: Callable) -> Call | None:
        """The call that pools the whole image by `function`, such as np.mean, if one does."""
        found = [call for call in self.graph.users(tensor) if self.graph.is_pooling(call, function)]
        self._mark(*found[:1])
        return found[0] if found else None

    def pairwise(self, tensor, other, function: Callable) -> Call | None:
        """The call that computes `function` of `other` and `tensor`, if one does."""
        found = [call for call in self.graph.users(tensor) if self.graph.is_pairwise(call, other, tensor, function)]
        self._mark(*found[:1])
        return found[0] if found else None

    def after(self, call: Call) -> keras.KerasTensor:
        """The call's result after layers that only change its shape or do nothing at inference."""
        out, activation = self._activation(call.output, call.layer)
        if activation != "linear":
            raise self.graph.error(call.layer, f"expected no activation after it, got {activation}")
        return out

    def leads_to_depthwise(self, unit: Unit) -> bool:
        """True if a depthwise convolution, or a padding, reads the unit's result."""
        kinds = (keras.layers.DepthwiseConv2D, keras.layers.ZeroPadding2D)
        return any(isinstance(call.layer, kinds) for call in self.graph.users(unit.out))

    # -- What the methods above share -------------------------------------------------------------------------------

    def _mark(self, *calls: Call) -> None:
        self._seen |= set(map(id, calls))

    def _next(self, tensor, kinds: tuple, what: str) -> Call:
        """The one call of `kinds` that reads the tensor."""
        users = self.graph.users(tensor)
        found = [call for call in users if isinstance(call.layer, kinds)]
        if len(found) == 1:
            self._mark(*found)
            return found[0]
        if not users:
            raise InputError(f"{self.graph.name}: expected {what} at the end of the model, which ends too early")
        raise self.graph.error(users[0].layer, f"expected {what}" + (", got more than one" if found else " here"))

    def _activation(self, tensor, layer, own: Callable | None = None) -> tuple[keras.KerasTensor, str]:
        """(The tensor after all that follows `tensor` element by element, the function that it is of it.)

        own: an activation that `layer` applies itself.
        """
        pooled = all(side == 1 for side in tensor.shape[1:-1])
        shape = (64, *tensor.shape[1:]) if pooled else (2, PROBE_SIDE, PROBE_SIDE, tensor.shape[-1])
        values = np.random.default_rng(0).permutation(np.linspace(-8, 8, math.prod(shape)))
        probe = values.reshape(shape).astype(np.float32)
        given = probe if own is None else _array(own(probe))
        tensor, value, calls = self.graph.elementwise(tensor, given)
        self._mark(*calls)
        for name, function in FUNCTIONS.items():
            if np.allclose(value.reshape(probe.shape), function(probe), atol=TOLERANCE):
                return tensor, name
        at = calls[0].layer if calls else layer
        raise self.graph.error(at, f"expected one of {', '.join(FUNCTIONS)} as the activation, got another function")

    def _pad(self, layer, zeros) -> None:
        """Follow the image's size through a convolution, and keep the conventions of padding that it agrees with."""
        kernel, stride = layer.kernel_size[0], layer.strides[0]
        half, explicit = (0, "same") if stride == 1 else (kernel // 2, "valid")
        outputs = []
        for size, (before, after) in zip(self._size, zeros, strict=True):
            found = _extent(size, kernel, stride, before, after, layer.padding)
            if found != _extent(size, kernel, stride, 0, 0, "same"):
                self.paddings.discard("same")
            if found != _extent(size, kernel, stride, half, half, explicit):
                self.paddings.discard("symmetric")
            outputs.append(found[1])
        if not self.paddings:
            reason = 'expected zeros as of padding "same", or k // 2 of them on each side, in all convolutions alike'
            raise self.graph.error(layer, f"{reason}; its input has {self._size} pixels")
        self._size = outputs[0], outputs[1]

    def _normalization(self, norm, layer) -> Arrays:
        """The arrays of `norm` as one with scale, offset and the first one's epsilon, after `layer` without its bias."""
        axis = norm.axis[0] if isinstance(norm.axis, (list, tuple)) else norm.axis
        if axis not in (-1, 3):
            raise self.graph.error(norm, f"expected the last axis, got {norm.axis}")
        self.norm = self.norm if self.norm[0] else (norm.epsilon, norm.momentum)
        mean, variance = _array(norm.moving_mean), _array(norm.moving_variance)
        gamma = _array(norm.gamma) if norm.scale else np.ones_like(mean)
        return {
            "_bn/gamma": gamma * np.sqrt((variance + self.norm[0]) / (variance + norm.epsilon)).astype(np.float32),
            "_bn/beta": _array(norm.beta) if norm.center else np.zeros_like(mean),
            "_bn/moving_mean": mean - _array(layer.bias) if layer.use_bias else mean,
            "_bn/moving_variance": variance,
        }


def _array(value) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(value), np.float32)


def _extent(size: int, kernel: int, stride: int, before: int, after: int, padding: str) -> tuple[int, int]:
    """(Zeros before the image, outputs) along one side: all that a result depends on, beside kernel and image."""
    padded = size + before + after
    if padding == "valid":
        return before, (padded - kernel) // stride + 1
    outputs = -(-padded // stride)
    return before + max((outputs - 1) * stride + kernel - padded, 0) // 2, outputs
