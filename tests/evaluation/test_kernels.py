"""Every set of training kernels against gradients in float64, and how a set is chosen."""

import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.evaluation import kernels
from scarlet_tf.evaluation.graphs import found_by_name

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


def hard_swish_in_float64(x, dy):
    """Return (x * relu6(x + 3) / 6, its gradient for x); at -3 and 3 the gradient is 0 and 1."""
    slope = np.where(x <= -3, 0, np.where(x < 3, (2 * x + 3) / 6, 1))
    return x * np.clip(x + 3, 0, 6) / 6, slope * dy


@pytest.fixture
def large():
    """Values with the corners of hard swish among them, just as many as are compiled."""
    values = np.random.default_rng(3).normal(scale=3, size=(8, 32, 32, 32)).astype("float32")
    values.flat[:3] = -3, 3, 0
    assert values.size == kernels.LARGE_TENSOR
    return values


def test_compiled_hard_swish_is_that_in_float64_under_a_tape_and_in_a_graph(large):
    def by_tape(x):
        with tf.GradientTape() as tape, kernels.in_step():
            tape.watch(x)
            y = kernels.hard_swish(x)
        return y, tape.gradient(y, x, output_gradients=x)

    def by_name(x):
        with kernels.in_step(), found_by_name():
            y = kernels.hard_swish(x)
        return y, *tf.gradients(y, x, x)

    assert kernels.fuses()
    graph = tf.compat.v1.wrap_function(by_name, [tf.TensorSpec(large.shape)])
    for found in (by_tape(tf.constant(large)), tf.function(by_tape)(tf.constant(large)), graph(tf.constant(large))):
        for ours, expected in zip(found, hard_swish_in_float64(large.astype(float), large), strict=True):
            # A few roundings of values below 200: 2^-24 of each.
            np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("why", ["outside a step", "small", "refused", "plain route"])
def test_hard_swish_is_otherwise_keras_own(untried, large, why):
    if why == "refused":
        untried.setattr(kernels, "fuses", lambda: False)
    if why == "plain route":
        untried.setenv(kernels.VARIABLE, "plain")
    x = large[:4] if why == "small" else large
    with tf.Graph().as_default() as graph:
        if why == "outside a step":
            kernels.hard_swish(tf.constant(x))
        else:
            with kernels.in_step():
                kernels.hard_swish(tf.constant(x))
        assert not any("Call" in operation.type for operation in graph.get_operations())


def test_xla_that_computes_something_else_is_refused_and_said(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "_hard_swish_gradient", lambda x, dy: dy)
    monkeypatch.setattr(kernels, "fuses", kernels.functools.cache(kernels.fuses.__wrapped__))
    assert not kernels.fuses()
    assert "XLA does not compile activations here" in caplog.text and "it differs by" in caplog.text
