"""BatchNormalization: Keras' layer with an explicit gradient of the training step.

Left to automatic differentiation, the batch's mean and variance give the input three gradients, which TensorFlow adds up
in an order that depends on which buffer happens to be free: the same step, done twice, differs in the last bits, and
two trainings with one seed diverge. The explicit form has one gradient and fewer passes over memory.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from scarlet_tf.errors import InputError
from scarlet_tf.layers.lanes import fan_out
from scarlet_tf.layers.state import assign

AXES = (0, 1, 2)
_kernels: dict[str, Callable] = {}


def use_kernel(backend: str, kernel: Callable) -> None:
    """Use `kernel(x, gamma, beta, epsilon) -> (y, mean, variance)` under that Keras backend.

    x and y [B, H, W, C] in the layer's compute dtype; the rest float32 [C]; the variance is the biased one. Nothing is
    differentiated through mean and variance.
    """
    _kernels[backend] = kernel


def normalize(x, gamma, beta, epsilon: float):
    """(gamma * (x - mean) / sqrt(variance + epsilon) + beta, mean, variance) over all axes of x but the last."""
    kernel = _kernels.get(keras.backend.backend(), portable_kernel)
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
