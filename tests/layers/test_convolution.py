"""Conv2D and DepthwiseConv2D under TensorFlow's training kernels against Keras' own layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.evaluation import kernels
from scarlet_tf.layers.core import Conv2D, DepthwiseConv2D

pytestmark = pytest.mark.both_modes


@pytest.mark.parametrize(
    ("height", "width", "kernel_size", "stride"),
    [(9, 8, 5, 1), (8, 8, 7, 1), (2, 2, 7, 1), (2, 2, 3, 1), (1, 1, 3, 1), (8, 8, 3, 1), (9, 10, 5, 2), (8, 7, 7, 2)],
)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("compiled", [False, True])
def test_output_and_gradients_are_those_of_keras_layer(height, width, kernel_size, stride, padding, compiled):
    """Padding "valid" of images that have their zeros already."""
    rng = np.random.default_rng(0)
    extra = 0 if padding == "same" else 2 * (kernel_size // 2)
    x = tf.constant(rng.normal(size=(3, height + extra, width + extra, 6)), tf.float32)
    weights = rng.normal(size=(kernel_size, kernel_size, 6, 1)).astype("float32")
    found = []
    for cls in (DepthwiseConv2D, keras.layers.DepthwiseConv2D):
        layer = cls(kernel_size, strides=stride, padding=padding, use_bias=False)
        layer.build(x.shape)
        layer.kernel.assign(weights)
        found.append(gradients(layer, x, compiled))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("batch_size", [3, None])
@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (1, 2), (3, 1)])
def test_convolutions_are_those_of_keras_layer(kernel_size, stride, batch_size):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(3, 5, 4, 6)), tf.float32)
    weights = rng.normal(size=(kernel_size, kernel_size, 6, 7)).astype("float32")
    found = []
    for cls in (Conv2D, keras.layers.Conv2D):
        layer = cls(7, kernel_size, strides=stride, padding="same", use_bias=False)
        layer.build(x.shape)
        layer.kernel.assign(weights)
        signature = [tf.TensorSpec((batch_size, *x.shape[1:]))]
        found.append(tf.function(lambda x, layer=layer: gradients(layer, x, False), input_signature=signature)(x))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5)


def gradients(layer, x, compiled):
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            upstream = tf.reshape(tf.sin(tf.range(tf.size(y), dtype=tf.float32)), tf.shape(y))
            loss = tf.reduce_sum(y * upstream)
        return y, *tape.gradient(loss, [x, layer.kernel.value])

    return tf.function(run)(x) if compiled else run(x)


def test_the_kernel_is_used_for_what_it_knows_only(monkeypatch):
    called = []

    def noted(x, weights, *arguments):
        called.append(arguments)
        return x, weights

    monkeypatch.setitem(kernels.GRADIENTS, kernels.route(), noted)
    x = tf.ones((2, 8, 8, 4))
    for kwargs, expected in (
        ({"use_bias": False}, 1),
        ({"use_bias": True}, 0),
        ({"use_bias": False, "activation": "relu"}, 0),
        ({"use_bias": False, "dilation_rate": 2}, 0),
        ({"use_bias": False, "dtype": "mixed_float16"}, 0),
    ):
        called.clear()
        layer = DepthwiseConv2D(5, padding="same", **kwargs)
        with tf.GradientTape() as tape:
            y = layer(x)
        tape.gradient(y, layer.kernel.value)
        assert len(called) == expected, kwargs
