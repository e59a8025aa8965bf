"""Keras' layers that training computes by a backend's kernels, and operations on tensors and state that they need.

A convolution, a batch normalisation or a hard swish is Keras' own layer, with the same arguments, weights and results. A kernel
with a gradient of its own may be registered for a backend (`use_kernels`); `scarlet_tf.evaluation.kernels` has TensorFlow's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import keras

from scarlet_tf.base.errors import InputError

KINDS = ("batch_norm", "depthwise", "hard_swish", "pointwise")
_kernels: dict[tuple[str, str], Callable] = {}


def use_kernels(backend: str, **kernels: Callable) -> None:
    """Use kernels, which have their own gradients, under that Keras backend.

    x [B, H, W, C] and results have the layer's compute dtype:

    * pointwise: `kernel(x, weights [1, 1, C, D]) -> [B, H, W, D]`
    * depthwise: `kernel(x, weights [k, k, C, 1], stride, padding) -> y`, padding "same" or "valid"
    * hard_swish: `kernel(x) -> y`
    * batch_norm: `kernel(x, gamma, beta, epsilon) -> (y, mean, variance)`, of a training step. All but x and y are float32 [C],
      the variance is the biased one, and nothing is differentiated through mean and variance.
    """
    unknown = sorted(kernels.keys() - set(KINDS))
    if unknown:
        raise ValueError(f"kernels: expected some of {KINDS}, got {unknown[0]!r}")
    _kernels.update({(backend, kind): kernel for kind, kernel in kernels.items()})


def _kernel(kind: str) -> Callable | None:
    return _kernels.get((keras.backend.backend(), kind))


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """Context in which no kernel is used: graphs traced in it do not depend on those that are registered.

    Exported graphs need that: a 1x1 convolution that training computes as a matrix product is to be a convolution for the
    runtimes that read the file.
    """
    kept = dict(_kernels)
    _kernels.clear()
    try:
        yield
    finally:
        _kernels.update(kept)


def fan_out(x, count: int) -> list:
    """`count` times x, for as many readers; their gradients are added up in one fixed order."""
    ops = keras.ops
    return ops.unstack(ops.repeat(ops.expand_dims(x, 0), count, axis=0), num=count)


def reorder(lanes, forward, backward):
    """The list lanes[forward[0]], lanes[forward[1]], ...; `backward` is the inverse permutation."""
    ops = keras.ops
    return ops.unstack(permute(ops.stack(lanes), forward, backward), num=len(lanes), axis=0)


def permute(stacked, forward, backward):
    """stacked[forward] along the first axis.

    The gradient of a gather along a permutation is the gather along its inverse. Stating it avoids the scatter that
    frameworks would use, which adds up rows that are all different.
    """
    ops = keras.ops

    @ops.custom_gradient
    def run(stacked):
        def grad(*args, upstream=None):
            return ops.take(args[0] if upstream is None else upstream, backward, axis=0)

        return ops.take(stacked, forward, axis=0), grad

    return run(stacked)


def assign(variable, value, what: str) -> None:
    """Assign `value` to a layer's variable; `what` says in an error what would have changed it."""
    before = variable.value
    variable.assign(value)
    refuse_tracer(variable, before, what)


def refuse_tracer(variable, before, what: str) -> None:
    """Raise InputError if `variable` was left a JAX tracer; its value `before` is then restored.

    Under jax.jit a variable may only be changed inside `keras.StatelessScope`, as `stateless_call` and `fit` do. Outside, it
    would hold a value of the trace, and the next read would fail with JAX's UnexpectedTracerError.
    """
    if keras.backend.backend() != "jax":
        return
    try:
        with keras.StatelessScope():  # a new one, which shows the value that the variable itself holds
            held = variable.value
    except TypeError:  # nothing: Keras' fit stores its values elsewhere, in a scope around all calls
        return
    if held is not variable.value:
        return  # a scope holds the value
    try:
        keras.ops.convert_to_numpy(held)
    except TypeError as error:
        variable.assign(before)
        raise InputError(
            f"{what}: expected stateless_call, or Keras' fit, inside a function that JAX traces, got a direct call, which"
            f" would leave a tracer in {variable.path}"
        ) from error


def subsample(x, stride: int):
    """Every `stride`-th pixel of x [B, H, W, C], the first one included."""
    return x if stride == 1 else x[:, ::stride, ::stride, :]


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Subsample(keras.layers.Layer):
    """Subsampling that keeps every `stride`-th row and column, the first ones included.

    Args:
        stride: an integer >= 1.
        by_convolution: use a depthwise convolution with a filter of a single one, which is exact, too. XNNPACK has no
            strided slice, so a slice would cut the graph of a file into parts.

    Input [B, H, W, C], output [B, ceil(H / stride), ceil(W / stride), C].
    """

    def __init__(self, stride: int, by_convolution: bool = False, **kwargs):
        super().__init__(**kwargs)
        if stride < 1:
            raise ValueError(f"stride: expected an integer >= 1, got {stride!r}")
        self.stride = stride
        self.by_convolution = by_convolution

    def call(self, x):
        if not self.by_convolution:
            return subsample(x, self.stride)
        one = keras.ops.ones((1, 1, x.shape[-1], 1), x.dtype)
        return keras.ops.depthwise_conv(x, one, self.stride, "valid", "channels_last")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = (None if side is None else -(-side // self.stride) for side in (height, width))
        return (batch, *sides, channels)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride, "by_convolution": self.by_convolution}


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Activation(keras.layers.Activation):
    """keras.layers.Activation; the same arguments and results."""

    def call(self, inputs):
        kernel = _kernel("hard_swish")
        if kernel is None or self.activation is not keras.activations.hard_silu:
            return super().call(inputs)
        return kernel(inputs)


def _is_plain(layer) -> bool:
    """True for the case that kernels cover: square strides, channels last, and nothing after the convolution."""
    nothing_else = not layer.use_bias and layer.activation is keras.activations.linear
    return nothing_else and layer.data_format == "channels_last" and len(set(layer.strides)) == 1


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Conv2D(keras.layers.Conv2D):
    """keras.layers.Conv2D; the same arguments, weights and results."""

    def call(self, inputs):
        kernel = _kernel("pointwise")
        pointwise = set(self.kernel_size) == {1} and set(self.strides) == {1} and self.groups == 1
        if kernel is None or not pointwise or not _is_plain(self):
            return super().call(inputs)
        return kernel(inputs, self.kernel)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """keras.layers.DepthwiseConv2D; the same arguments, weights and results."""

    def call(self, inputs):
        kernel = _kernel("depthwise")
        one_filter = self.depth_multiplier == 1 and set(self.dilation_rate) == {1}
        if kernel is None or not one_filter or not _is_plain(self):
            return super().call(inputs)
        return kernel(inputs, self.kernel, self.strides[0], self.padding)


AXES = (0, 1, 2)


def normalize(x, gamma, beta, epsilon: float):
    """(gamma * (x - mean) / sqrt(variance + epsilon) + beta, mean, variance) over all axes of x but the last.

    The gradient is explicit. Left to automatic differentiation, the batch's mean and variance give the input three gradients,
    which TensorFlow adds up in an order that depends on which buffer happens to be free: the same step, done twice, differs
    in the last bits, and two trainings with one seed diverge. The explicit form has one gradient and fewer passes over memory.
    """
    kernel = _kernel("batch_norm") or portable_kernel
    return kernel(x, gamma, beta, epsilon)


def portable_kernel(x, gamma, beta, epsilon: float):
    """`normalize` in keras.ops; statistics and arithmetic in float32 whatever x is."""
    ops = keras.ops

    @ops.custom_gradient
    def run(x, gamma, beta):
        wide = ops.cast(x, "float32")
        mean, variance = ops.moments(wide, axes=AXES)
        inverse = ops.rsqrt(variance + epsilon)
        scale = gamma * inverse

        def grad(*args, upstream=None):
            # Backends pass the gradients of several outputs differently. Mean and variance have none.
            dy = ops.cast(keras.tree.flatten(args if upstream is None else upstream)[0], "float32")
            count = ops.cast(ops.size(wide[..., 0]), "float32")
            dbeta = ops.sum(dy, axis=AXES)
            dgamma = inverse * (ops.sum(dy * wide, axis=AXES) - mean * dbeta)
            slope = -scale * inverse * dgamma / count
            dx = (dy * scale + wide * slope) + (-scale * dbeta / count - slope * mean)
            return ops.cast(dx, x.dtype), dgamma, dbeta

        y = wide * scale + (beta - mean * scale)
        return (ops.cast(y, x.dtype), mean, variance), grad

    y, mean, variance = run(x, gamma, beta)
    return y, ops.stop_gradient(mean), ops.stop_gradient(variance)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization; the same arguments, weights and results.

    The explicit gradient covers images [B, H, W, C] over C. Keras' own computes all else: other ranks and axes, masks,
    `center=False`, `scale=False`, `renorm`, `synchronized` and float64.
    """

    def call(self, inputs, training=None, mask=None):
        learns = bool(training and self.trainable)
        if not learns or mask is not None or not self._is_plain(inputs.shape):
            return super().call(inputs, training=learns, mask=mask)
        x = keras.ops.cast(inputs, self.compute_dtype)
        y, mean, variance = normalize(x, self._wide(self.gamma), self._wide(self.beta), self.epsilon)
        self._move([mean], [variance])
        return y

    def lanes(self, inputs, training=False):
        """[m, B, H, W, C] -> the same shape: outputs and moving statistics of m successive calls."""
        ops = keras.ops
        num_lanes, *shape = inputs.shape
        if not self._is_plain(shape):
            raise InputError(
                f"{self.name}: expected lanes [m, B, H, W, C] and plain statistics over C, got {inputs.shape}"
            )
        if not (training and self.trainable):
            y = super().call(ops.reshape(inputs, (-1, *shape[1:])), training=False)
            return ops.reshape(y, ops.shape(inputs))
        gammas, betas = fan_out(self._wide(self.gamma), num_lanes), fan_out(self._wide(self.beta), num_lanes)
        lanes = ops.unstack(ops.cast(inputs, self.compute_dtype), num=num_lanes)
        results = [normalize(*lane, self.epsilon) for lane in zip(lanes, gammas, betas, strict=True)]
        ys, means, variances = zip(*results, strict=True)
        self._move(means, variances)
        return ops.stack(ys)

    def _is_plain(self, shape) -> bool:
        """True if the explicit gradient applies to this layer for an input of `shape`."""
        others = self.renorm or self.synchronized or self.compute_dtype == "float64"
        return len(shape) == 4 and self.axis in (-1, 3) and self.center and self.scale and not others

    def _move(self, means, variances) -> None:
        for moving, batches in ((self.moving_mean, means), (self.moving_variance, variances)):
            value = self._wide(moving)
            for batch in batches:
                value = value * self.momentum + batch * (1.0 - self.momentum)
            assign(moving, value, f"{self.name} in training mode")

    @staticmethod
    def _wide(weight):
        return keras.ops.cast(weight, "float32")
