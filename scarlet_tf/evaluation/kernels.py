"""TensorFlow's operations where keras.ops has none that are as fast; importing this module puts them to use.

Which operations are fast depends on the processor's route. With oneDNN TensorFlow has quick forward convolutions and a slow
gradient of large depthwise filters; without it, that gradient is quick and the one of a strided convolution's input is slow. So
there are two sets of kernels, both made of operations that compute the same as TensorFlow's plain gradients but for rounding:

* `onednn`: the filter's gradient is a correlation, or TensorFlow's own kernel where oneDNN's is slower;
* `eigen`: the gradient of a strided convolution's input is put together from one small convolution for each phase of the stride.

`plain` uses none of them. A set is taken only after it was tried: once a process, tiny examples of each of its kernels are
compared with the plain way (`tried`). The environment variable SCARLET_KERNELS names a set; one that the trial refuses is an
error then. On a machine with a GPU convolutions are plain.

Hard swish, with its gradient, is a dozen operations that each go over memory once. In training steps XLA compiles it to two
loops, for large tensors, where that saves more than compiling takes. It is tried in the same way (`fuses`).
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import logging
import os
from collections.abc import Iterator
from concurrent import futures

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation.graphs import with_gradient
from scarlet_tf.layers import core

logger = logging.getLogger("scarlet_tf")

ROUTES = ("onednn", "eigen", "plain")
VARIABLE = host.KERNELS
# Of the greatest value that is compared: sums of some hundred float32 products in another order.
TOLERANCE = 1e-5
LARGE_FILTER = 5
# (filter, image, stride) of what is tried: each way that a set of kernels goes.
EXAMPLES = ((5, 6, 1), (5, 12, 1), (7, 12, 1), (5, 9, 2), (7, 12, 2), (3, 2, 1))
# With oneDNN, stride 1: a correlation is quicker than TensorFlow's kernel for filters from 7 pixels on, and for images up to 8.
VERY_LARGE_FILTER, SMALL_IMAGE, TINY_IMAGE = 7, 8, 2
# Elements from which on hard swish is compiled by XLA, which takes 0.13 s for each shape.
LARGE_TENSOR = 2**18

_in_step = contextvars.ContextVar("in_step", default=False)


@dataclasses.dataclass(frozen=True)
class Trial:
    """Outcome of trying each route: `chosen`, and for each route that was refused the reason."""

    chosen: str
    refused: dict[str, str]


# -- choosing a route ---------------------------------------------------------------------------------------------


def route() -> str:
    """Return the route of this process: "onednn", "eigen" or "plain".

    Raises InputError when SCARLET_KERNELS names none of them, or one that the trial refuses, and when TF_ENABLE_ONEDNN_OPTS
    is neither 0 nor 1.
    """
    return tried().chosen


def wanted() -> str:
    """Return SCARLET_KERNELS, or "auto"; InputError where it names no route."""
    name = os.environ.get(VARIABLE) or "auto"
    if name not in ("auto", *ROUTES):
        raise InputError(f"{VARIABLE}: expected auto or one of {', '.join(ROUTES)}, got {name!r}")
    return name


@functools.cache
def tried() -> Trial:
    """Try the routes, once a process, in a thread of its own: there no graph is being traced."""
    name = wanted()
    host.onednn_setting()
    with futures.ThreadPoolExecutor(1) as thread:
        reasons = dict(zip(ROUTES, thread.map(_refusal, ROUTES[:-1]), strict=False))
    refused = {route: reason for route, reason in reasons.items() if reason}
    allowed = [route for route in ROUTES if route not in refused]
    if name in refused:
        raise InputError(
            f"{VARIABLE}: expected auto or one of {', '.join(allowed)} here, got {name!r}: {refused[name]}"
        )
    chosen = allowed[0] if name == "auto" else name
    if "eigen" in refused:  # it consists of operations that every processor has
        logger.warning("kernels: %s; plain gradients are used instead, which are slower", refused["eigen"])
    logger.debug("kernels: %s (refused: %s)", chosen, refused or "none")
    return Trial(chosen, refused)


def _refusal(name: str) -> str:
    """Return why the route cannot be taken, "" if it can."""
    try:
        if name == "onednn" and not has_onednn():
            return "TensorFlow runs without oneDNN here (TF_ENABLE_ONEDNN_OPTS=1 before its import may turn it on)"
        for size, side, stride in EXAMPLES:
            for found, plain in _example(name, size, side, stride):
                difference = float(np.abs(found - plain).max() / np.abs(plain).max())
                if not difference <= TOLERANCE:
                    return f"a gradient differs from the plain one by {difference:.1e} of its greatest value"
    except tf.errors.OpError as error:
        return f"a gradient cannot be computed: {error.message.splitlines()[0]}"
    return ""


def has_onednn() -> bool:
    """Return whether oneDNN computes depthwise convolutions: a dilated one, which TensorFlow's own kernel does not know."""
    arguments = {"input": tf.ones((1, 5, 5, 8)), "filter": tf.ones((3, 3, 8, 1)), "strides": [1, 1, 1, 1]}
    try:
        tf.raw_ops.DepthwiseConv2dNative(**arguments, padding="VALID", dilations=[1, 2, 2, 1])
    except tf.errors.UnimplementedError:
        return False
    return True


def _example(name: str, size: int, side: int, stride: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (by the route, plain) for the gradients of a small depthwise convolution's input and filter."""
    rng = np.random.default_rng(size + side)
    padding = "same" if stride == 1 else "valid"
    attributes = {"strides": [1, stride, stride, 1], "padding": padding.upper()}
    x, weights = (tf.constant(rng.normal(size=s), tf.float32) for s in ((2, side, side, 8), (size, size, 8, 1)))
    dy = tf.raw_ops.DepthwiseConv2dNative(input=x, filter=weights, **attributes)
    found = GRADIENTS[name](x, weights, dy, stride, padding, attributes)
    plain = _input_gradient(x, weights, dy, attributes), _filter_gradient(x, weights, dy, attributes)
    return [(ours.numpy(), theirs.numpy()) for ours, theirs in zip(found, plain, strict=True)]


@functools.cache
def fuses() -> bool:
    """Return whether XLA compiles hard swish here and computes it and its gradient as TensorFlow's operations do."""
    with futures.ThreadPoolExecutor(1) as thread:  # where no graph is being traced
        reason = thread.submit(_refusal_of_fusing).result()
    if reason:
        logger.warning("kernels: XLA does not compile activations here, and steps take longer: %s", reason)
    return not reason


def _refusal_of_fusing() -> str:
    x = tf.constant(np.linspace(-4, 4, 33), tf.float32)
    try:
        with tf.GradientTape() as tape:
            tape.watch(x)
            plain = keras.activations.hard_silu(x)
        pairs = [(_hard_swish(x), plain), (_hard_swish_gradient(x, x), tape.gradient(plain, x, x))]
    except tf.errors.OpError as error:
        return error.message.splitlines()[0]
    difference = max(float(tf.reduce_max(tf.abs(ours - theirs))) for ours, theirs in pairs)
    return "" if difference <= TOLERANCE else f"it differs by {difference:.1e}"


@contextlib.contextmanager
def in_step() -> Iterator[None]:
    """Inside, a training step is traced: XLA compiles large activations, which exported graphs are not to depend on."""
    token = _in_step.set(True)
    try:
        yield
    finally:
        _in_step.reset(token)


# -- kernels ------------------------------------------------------------------------------------------------------


def fused_batch_norm(x, gamma, beta, epsilon: float):
    """`layers.core.normalize` by FusedBatchNormV3, which computes statistics and gradient in one kernel each."""
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    )
    # The operation returns the unbiased variance; Keras keeps the biased one.
    pixels = (x.shape if x.shape.is_fully_defined() else tf.shape(x))[:-1]
    count = float(np.prod(pixels)) if x.shape.is_fully_defined() else tf.cast(tf.reduce_prod(pixels), tf.float32)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance * ((count - 1.0) / count))


def pointwise_conv(x, weights):
    """A 1x1 convolution; on CPUs a matrix product, which is quicker, forward and for the gradient of the weights."""
    x, weights = tf.convert_to_tensor(x), tf.convert_to_tensor(weights)
    if not _is_for_kernels(x) or route() == "plain":
        return tf.nn.conv2d(x, weights, 1, "SAME")
    return _matmul(x, weights)


def depthwise_conv(x, weights, stride: int, padding: str):
    """A depthwise convolution whose gradients are quick on CPUs, too; for small filters TensorFlow's are."""
    x, weights = tf.convert_to_tensor(x), tf.convert_to_tensor(weights)
    large = weights.shape[0] >= LARGE_FILTER
    if not _is_for_kernels(x) or not (large or x.shape[1] <= TINY_IMAGE) or route() == "plain":
        return tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], padding.upper())
    return _depthwise(x, weights, stride, padding, route())


def hard_swish(x):
    """x * relu6(x + 3) / 6, large tensors of a training step on CPUs in one pass over memory, and two for the gradient."""
    x = tf.convert_to_tensor(x)
    large = x.shape.is_fully_defined() and x.shape.num_elements() >= LARGE_TENSOR
    if not _in_step.get() or not large or not _is_for_kernels(x) or route() == "plain" or not fuses():
        return keras.activations.hard_silu(x)
    return with_gradient(_hard_swish, _hard_swish_gradient, "hard_swish")(x)


@functools.partial(tf.function, autograph=False, jit_compile=True)
def _hard_swish(x):
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


@functools.partial(tf.function, autograph=False, jit_compile=True)
def _hard_swish_gradient(x, dy):
    return dy * tf.where(x <= -3.0, 0.0, tf.where(x < 3.0, x * (1.0 / 3.0) + 0.5, 1.0))


def _is_for_kernels(x) -> bool:
    return not _has_gpu() and x.dtype == tf.float32 and None not in x.shape[1:]


@functools.cache
def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _matmul(x, weights):
    *_, inner, outer = weights.shape
    y = tf.matmul(tf.reshape(x, (-1, inner)), tf.reshape(weights, (inner, outer)))
    return tf.reshape(y, (-1, *x.shape[1:-1], outer))


def _depthwise(x, weights, stride: int, padding: str, name: str):
    attributes = {"strides": [1, stride, stride, 1], "padding": padding.upper()}

    def forward(x, weights):
        return tf.raw_ops.DepthwiseConv2dNative(input=x, filter=weights, **attributes)

    def gradients(x, weights, dy):
        return GRADIENTS[name](x, weights, dy, stride, padding, attributes)

    return with_gradient(forward, gradients, f"depthwise_{name}_{stride}_{padding}")(x, weights)


def _onednn_gradients(x, weights, dy, stride: int, padding: str, attributes: dict):
    size, side = weights.shape[0], x.shape[1]
    if stride == 1 and padding == "same":  # then the input's gradient is such a convolution, too
        dx = tf.raw_ops.DepthwiseConv2dNative(input=dy, filter=tf.reverse(weights, [0, 1]), **attributes)
    else:
        dx = _input_gradient(x, weights, dy, attributes)
    explicit = [0, 0, *_zeros(x.shape[1], size, stride, padding), *_zeros(x.shape[2], size, stride, padding), 0, 0]
    if stride == 1 and (side <= SMALL_IMAGE or size >= VERY_LARGE_FILTER):
        return dx, _correlate(x, dy, size, explicit)
    # TensorFlow hands explicit paddings to its own kernel, which is quicker than oneDNN's for large filters.
    return dx, _filter_gradient(x, weights, dy, {**attributes, "padding": "EXPLICIT", "explicit_paddings": explicit})


def _zeros(side: int, size: int, stride: int, padding: str) -> tuple[int, int]:
    """Zeros before and after a side of the image."""
    total = max((-(-side // stride) - 1) * stride + size - side, 0) if padding == "same" else 0
    return total // 2, total - total // 2


def _eigen_gradients(x, weights, dy, stride: int, padding: str, attributes: dict):
    in_phases = stride > 1 and padding == "valid" and weights.shape[0] >= LARGE_FILTER
    dx = _phases(x, weights, dy, stride) if in_phases else _input_gradient(x, weights, dy, attributes)
    return dx, _filter_gradient(x, weights, dy, attributes)


def _input_gradient(x, weights, dy, attributes: dict):
    return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(x), filter=weights, out_backprop=dy, **attributes
    )


def _filter_gradient(x, weights, dy, attributes: dict):
    return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=x, filter_sizes=weights.shape, out_backprop=dy, **attributes
    )


def _correlate(x, dy, size: int, explicit: list[int]):
    """Return the gradient of a depthwise filter [size, size, C, 1] of stride 1.

    It is a correlation of x [B, H, W, C] with dy, image by image and channel by channel: a depthwise convolution of one
    image that has B * C channels, with dy as its filter.
    """
    padding = {"padding": "EXPLICIT", "explicit_paddings": explicit} if any(explicit) else {"padding": "VALID"}
    taps = tf.raw_ops.DepthwiseConv2dNative(
        input=_as_channels(x)[tf.newaxis], filter=_as_channels(dy)[..., tf.newaxis], strides=[1, 1, 1, 1], **padding
    )[0, :size, :size]
    return tf.reduce_sum(tf.reshape(taps, (size, size, -1, x.shape[-1])), axis=2)[..., tf.newaxis]


def _as_channels(images):
    """[B, H, W, C] -> [H, W, B * C]."""
    _, height, width, channels = images.shape
    return tf.reshape(tf.transpose(images, (1, 2, 0, 3)), (height, width, tf.shape(images)[0] * channels))


def _phases(x, weights, dy, stride: int):
    """Return the gradient of the input x [B, H, W, C] of a depthwise convolution with padding "valid" and that stride.

    Pixels whose row and column leave the same remainders by the stride, a phase, see the same taps of the filter: their
    gradient is a convolution of dy [B, h, w, C] with these taps, turned around. The phases are then put side by side.
    """
    (height, width), (rows, columns) = x.shape[1:3], dy.shape[1:3]
    phases = []
    for row in range(stride):
        for column in range(stride):
            taps = tf.reverse(weights[row::stride, column::stride], [0, 1])
            above, left = taps.shape[0] - 1, taps.shape[1] - 1
            below, right = -(-height // stride) - rows, -(-width // stride) - columns
            padded = tf.pad(dy, [[0, 0], [above, below], [left, right], [0, 0]])
            phases.append(
                tf.raw_ops.DepthwiseConv2dNative(input=padded, filter=taps, strides=[1, 1, 1, 1], padding="VALID")
            )
    return tf.nn.depth_to_space(tf.concat(phases, axis=-1), stride)[:, :height, :width]


GRADIENTS = {"onednn": _onednn_gradients, "eigen": _eigen_gradients}
core.use_kernels(
    "tensorflow",
    batch_norm=fused_batch_norm,
    depthwise=depthwise_conv,
    hard_swish=hard_swish,
    pointwise=pointwise_conv,
)
