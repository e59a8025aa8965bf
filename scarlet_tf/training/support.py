"""Parts of a step that not every build of TensorFlow computes on every processor: half precision and XLA.

Each is tried on a tiny example before a training that needs it, so that the training is refused in one line.
"""

from __future__ import annotations

import functools
import re

import tensorflow as tf

from scarlet_tf.errors import InputError


def check_support(policy: str, jit_compile: bool = False) -> None:
    """Raise InputError for a dtype policy, or XLA, with which a training step cannot be computed here."""
    dtype = policy.removeprefix("mixed_")
    if dtype != "float32" and (reason := refusal(dtype)):
        raise InputError(f"supernet.precision: expected float32 on this machine, got {policy}: {reason}")
    if jit_compile and (reason := refusal(dtype, jit_compile)):
        raise InputError(f"supernet.jit_compile: expected false on this machine, got true: {reason}")


@functools.cache
def refusal(dtype: str, jit_compile: bool = False) -> str:
    """Return why convolutions and their gradients cannot be computed in `dtype`, "" if they can."""

    def gradients():
        x, weights, filters = (tf.ones(shape, dtype) for shape in ((1, 4, 4, 8), (1, 1, 8, 8), (3, 3, 8, 1)))
        with tf.GradientTape() as tape:
            tape.watch([x, weights, filters])
            y = tf.nn.depthwise_conv2d(tf.nn.conv2d(x, weights, 1, "SAME"), filters, [1, 1, 1, 1], "SAME")
        return tape.gradient(y, [x, weights, filters])

    try:
        (tf.function(gradients, autograph=False, jit_compile=True) if jit_compile else gradients)()
    except tf.errors.OpError as error:
        return f"TensorFlow says {re.sub(r'{{.*?}}', '', error.message).strip().splitlines()[0]!r}"
    return ""
