"""Every set of training kernels against gradients in float64, and how a set is chosen."""

import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.errors import InputError
from scarlet_tf.training import kernels

pytestmark = pytest.mark.both_modes


@pytest.fixture
def untried(monkeypatch):
    """The routes are tried within the test; those of other tests stay as they were."""
    monkeypatch.setattr(kernels, "tried", kernels.functools.cache(kernels.tried.__wrapped__))
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    return monkeypatch


def depthwise_gradients(x, weights, dy, stride, zeros):
    """Return (dx, dw) of sum(y * dy), summed up tap by tap in float64."""
    x, weights, dy = (np.asarray(v, np.float64) for v in (x, weights, dy))
    padded = np.pad(x, [(0, 0), (zeros, zeros), (zeros, zeros), (0, 0)])
    dx, dw = np.zeros_like(padded), np.zeros_like(weights)
    _, rows, columns, _ = dy.shape
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            seen = np.s_[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
            dx[seen] += dy * weights[i, j, :, 0]
            dw[i, j, :, 0] = (padded[seen] * dy).sum(axis=(0, 1, 2))
    return dx[:, zeros : zeros + x.shape[1], zeros : zeros + x.shape[2]], dw


@pytest.mark.parametrize("route", ["onednn", "eigen"])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "size", "stride"),
    [
        *((side, side + 1, size, 1) for side in (1, 2, 7, 12) for size in (3, 5, 7)),
        *((side, side + extra, size, 2) for side, extra in ((9, 0), (8, 1), (14, 0)) for size in (3, 5, 7)),
        (10, 9, 5, 3),
    ],
)
def test_gradients_are_those_in_float64(rng, route, compiled, height, width, size, stride):
    padding, zeros = ("same", size // 2) if stride == 1 else ("valid", 0)
    x, weights = rng.normal(size=(3, height, width, 4)), rng.normal(size=(size, size, 4, 1))

    def run(x, weights):
        with tf.GradientTape() as tape:
            tape.watch([x, weights])
            y = kernels._depthwise(x, weights, stride, padding, route)
        return y, *tape.gradient(y, [x, weights], output_gradients=y)

    run = tf.function(run) if compiled else run
    y, dx, dw = run(tf.constant(x, tf.float32), tf.constant(weights, tf.float32))
    plain = tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], padding.upper())  # in float64
    for found, expected in zip((y, dx, dw), (plain, *depthwise_gradients(x, weights, y, stride, zeros)), strict=True):
        # Sums of at most 468 products of float32: their rounding is 1e-6 of the greatest value.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_route_is_onednns_where_that_computes_depthwise_convolutions(untried):
    try:
        x, weights = tf.ones((1, 9, 9, 4)), tf.ones((3, 3, 4, 1))
        tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME", dilations=[2, 2])
        tf.raw_ops.DepthwiseConv2dNative(
            input=x, filter=weights, strides=[1] * 4, padding="SAME", dilations=[1, 3, 3, 1]
        )
        expected = "onednn"
    except tf.errors.UnimplementedError:
        expected = "eigen"
    assert kernels.route() == expected
    assert set(kernels.tried().refused) == ({"onednn"} if expected == "eigen" else set())


def test_a_route_with_a_wrong_gradient_is_refused_and_said(untried, caplog):
    def wrong(x, weights, dy, *arguments):
        dx, dw = kernels._eigen_gradients(x, weights, dy, *arguments)
        return dx, dw * (1 + 1e-3)

    for name in ("onednn", "eigen"):
        untried.setitem(kernels.GRADIENTS, name, wrong)
    assert kernels.route() == "plain"
    assert "a gradient differs from the plain one by 1.0e-03" in kernels.tried().refused["eigen"]
    assert "plain gradients are used instead" in caplog.text


def test_a_route_that_cannot_be_computed_is_refused(untried):
    def failing(x, weights, dy, *arguments):
        raise tf.errors.UnimplementedError(None, None, "no kernel for this processor")

    untried.setitem(kernels.GRADIENTS, "onednn", failing)
    assert kernels.route() == "eigen"
    untried.setattr(kernels, "has_onednn", lambda: True)
    kernels.tried.cache_clear()
    assert kernels.tried().refused == {"onednn": "a gradient cannot be computed: no kernel for this processor"}


def test_a_route_forced_by_hand_is_taken_or_refused_clearly(untried):
    for name in ("eigen", "plain"):
        untried.setenv(kernels.VARIABLE, name)
        kernels.tried.cache_clear()
        assert kernels.route() == name
    untried.setattr(kernels, "has_onednn", lambda: False)
    kernels.tried.cache_clear()
    untried.setenv(kernels.VARIABLE, "onednn")
    with pytest.raises(
        InputError, match="SCARLET_KERNELS: expected auto or one of eigen, plain here, got 'onednn': Tens"
    ):
        kernels.route()
    untried.setenv(kernels.VARIABLE, "mkl")
    with pytest.raises(InputError, match="SCARLET_KERNELS: expected auto or one of onednn, eigen, plain, got 'mkl'"):
        kernels.route()
    untried.delenv(kernels.VARIABLE)
    untried.setenv("TF_ENABLE_ONEDNN_OPTS", "yes")
    with pytest.raises(InputError, match="TF_ENABLE_ONEDNN_OPTS: expected 0 or 1, or unset it, got 'yes'"):
        kernels.route()


def test_routes_can_be_tried_while_a_function_is_traced(untried):
    found = []

    @tf.function
    def traced(x):
        found.append(kernels.route())
        return x

    traced(tf.ones(2))
    assert found == [kernels.route()]


def test_plain_convolutions_are_tensorflows(untried, rng):
    untried.setenv(kernels.VARIABLE, "plain")
    x, weights = (tf.constant(rng.normal(size=s), tf.float32) for s in ((2, 9, 9, 4), (5, 5, 4, 1)))
    types = []
    with tf.Graph().as_default() as graph:
        kernels.depthwise_conv(tf.constant(x.numpy()), tf.constant(weights.numpy()), 1, "same")
        kernels.pointwise_conv(tf.constant(x.numpy()), tf.ones((1, 1, 4, 3)))
        types = [operation.type for operation in graph.get_operations()]
    assert "Conv2D" in types and "DepthwiseConv2dNative" in types and "MatMul" not in types
