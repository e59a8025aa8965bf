"""BatchNormalization against keras.layers.BatchNormalization, with either kernel."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import skip_unless_computed

from scarlet_tf.evaluation import kernels
from scarlet_tf.layers import core
from scarlet_tf.layers.core import BatchNormalization

pytestmark = pytest.mark.both_modes

SHAPE = (6, 5, 3, 4)


@pytest.fixture(params=["portable", "fused"])
def kernel(request, monkeypatch):
    """Both implementations of the training step's arithmetic."""
    chosen = {"portable": core.portable_kernel, "fused": kernels.fused_batch_norm}[request.param]
    monkeypatch.setitem(core._kernels, ("tensorflow", "batch_norm"), chosen)


def made(cls, rng, dtype="float32", **kwargs):
    layer = cls(momentum=0.8, epsilon=1e-3, dtype=dtype, **kwargs)
    layer.build(SHAPE)
    for variable in layer.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return layer


def step(layer, x, dy):
    """(output, gradients of x, gamma and beta, moving statistics afterwards)."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    gradients = tape.gradient(y, [x, layer.gamma.value, layer.beta.value], dy)
    return [np.asarray(tf.cast(v, tf.float32)) for v in (y, *gradients, layer.moving_mean, layer.moving_variance)]


@pytest.mark.parametrize("shape", [SHAPE, (6, 1, 1, 4), (1, 5, 3, 4)])
def test_a_training_step_equals_keras(kernel, shape, rng):
    x, dy = (tf.constant(3 * rng.normal(size=shape) + 1, tf.float32) for _ in range(2))
    ours, keras_own = (
        step(made(cls, np.random.default_rng(1)), x, dy)
        for cls in (BatchNormalization, keras.layers.BatchNormalization)
    )
    for one, other in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


def test_inference_and_a_frozen_layer_use_the_moving_statistics(kernel, rng):
    x = tf.constant(rng.normal(size=SHAPE), tf.float32)
    ours, keras_own = (
        made(cls, np.random.default_rng(1)) for cls in (BatchNormalization, keras.layers.BatchNormalization)
    )
    expected = keras_own(x, training=False)
    np.testing.assert_array_equal(ours(x, training=False), expected)
    ours.trainable = False
    np.testing.assert_array_equal(ours(x, training=True), expected)


@pytest.mark.parametrize("policy, tolerance", [("mixed_bfloat16", 2e-2), ("mixed_float16", 2e-3)])
def test_mixed_precision_keeps_statistics_in_float32(kernel, policy, tolerance, rng):
    skip_unless_computed(policy)
    x, dy = (rng.normal(size=SHAPE).astype(np.float32) for _ in range(2))
    dtype = keras.DTypePolicy(policy).compute_dtype
    half = step(made(BatchNormalization, np.random.default_rng(1), policy), tf.cast(x, dtype), tf.cast(dy, dtype))
    full = step(made(BatchNormalization, np.random.default_rng(1)), tf.constant(x), tf.constant(dy))
    for one, other in zip(half, full, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=5 * tolerance)


def test_lanes_equal_calls_one_after_another(kernel, rng):
    x, dy = (tf.constant(rng.normal(size=(3, *SHAPE)), tf.float32) for _ in range(2))
    together, in_turn = (made(BatchNormalization, np.random.default_rng(1)) for _ in range(2))
    with tf.GradientTape(persistent=True) as tape:
        one = together.lanes(x, training=True)
        other = tf.stack([in_turn(lane, training=True) for lane in tf.unstack(x)])
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    for a, b in zip(together.weights, in_turn.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    for name in ("gamma", "beta"):
        a = tape.gradient(one, getattr(together, name).value, dy)
        np.testing.assert_allclose(a, tape.gradient(other, getattr(in_turn, name).value, dy), rtol=1e-5)
    np.testing.assert_allclose(together.lanes(x), tf.stack([in_turn(lane) for lane in tf.unstack(x)]), rtol=1e-5)


def test_it_saves_and_loads(tmp_path, rng):
    model = keras.Sequential([keras.Input(SHAPE[1:]), BatchNormalization(momentum=0.8)])
    x = rng.normal(size=SHAPE).astype(np.float32)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is BatchNormalization
    np.testing.assert_array_equal(loaded(x), model(x))
