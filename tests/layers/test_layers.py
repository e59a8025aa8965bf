import keras
import numpy as np
import pytest

from scarlet_tf.layers import ChoiceBlock, InvertedResidual, Skip, SqueezeExcite, Stem, Tail
from scarlet_tf.spec import InvertedResidualSpec

pytestmark = pytest.mark.both_modes

X = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32)
IMAGE = X[..., :3]


def hard_sigmoid(x):
    return np.clip(x / 6 + 0.5, 0, 1)


@pytest.mark.parametrize(
    "layer, x",
    [
        (SqueezeExcite(2, seed=1), X),
        (InvertedResidual(8, 6, 5, stride=2, se_channels=2, activation="relu6", seed=2), X),
        (InvertedResidual(8, 4, 3, residual=True), X),
        (Skip(6, stride=2, mode="let", seed=3), X),
        (Skip(6, mode="identity"), X),
        (Skip(6, mode="relu"), X),
        (Stem(8, 6, stride=2, seed=4), IMAGE),
        (Tail(8, 5, seed=5), X),
    ],
)
def test_layer_round_trips_through_its_config(layer, x):
    expected = layer(x)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    twin(x)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(x), expected)
    assert tuple(expected.shape) == tuple(layer.compute_output_shape(x.shape))
    assert twin.get_config() == layer.get_config()


def test_choice_block_round_trips_through_its_config():
    block = ChoiceBlock([Skip(4), InvertedResidual(8, 4, 3, residual=True)])
    block(X, np.int32(0))
    twin = ChoiceBlock.from_config(block.get_config())
    twin(X, np.int32(0))
    twin.set_weights(block.get_weights())
    np.testing.assert_array_equal(twin(X, np.int32(1)), block(X, np.int32(1)))


def test_squeeze_excite_by_hand():
    layer = SqueezeExcite(2, seed=0)
    layer(X)
    w1, b1, w2, b2 = (np.asarray(w) for w in (*layer.squeeze.weights, *layer.excite.weights))
    means = X.mean(axis=(1, 2))
    gate = hard_sigmoid(np.maximum(means @ w1[0, 0] + b1, 0) @ w2[0, 0] + b2)
    np.testing.assert_allclose(layer(X), X * gate[:, None, None, :], rtol=1e-5, atol=1e-6)


def test_inverted_residual_pads_symmetrically_at_stride_2():
    """A kernel that copies its centre must answer every second pixel, the first one included."""
    layer = InvertedResidual(4, 4, 3, stride=2, activation="relu")
    layer(X)
    centre = np.zeros((3, 3, 4, 1), np.float32)
    centre[1, 1] = 1
    layer.depthwise.set_weights([centre])
    for conv in (layer.expand, layer.project):
        conv.set_weights([np.eye(4, dtype=np.float32)[None, None]])
    scale = 1 / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(layer(X), np.maximum(X[:, ::2, ::2], 0) * scale**3, rtol=1e-5, atol=1e-6)


def test_inverted_residual_equals_its_plain_keras_twin():
    layer = InvertedResidual(8, 4, 5, se_channels=2, residual=True, seed=0)
    layer(X)
    rng = np.random.default_rng(1)
    for variable in layer.variables:
        variable.assign(rng.uniform(0.2, 1.0, variable.shape))
    w = {v.path.removeprefix(layer.name + "/"): np.asarray(v) for v in layer.variables}

    def bn(x, name):
        mean, var, gamma, beta = (w[f"{name}/{p}"] for p in ("moving_mean", "moving_variance", "gamma", "beta"))
        return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta

    def swish(x):
        return x * hard_sigmoid(x)

    x = swish(bn(X @ w["expand/kernel"][0, 0], "expand_bn"))
    padded = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)])
    x = sum(padded[:, i : i + 6, j : j + 6] * w["depthwise/kernel"][i, j, :, 0] for i in range(5) for j in range(5))
    x = swish(bn(x, "depthwise_bn"))
    gate = np.maximum(x.mean(axis=(1, 2)) @ w["se/squeeze/kernel"][0, 0] + w["se/squeeze/bias"], 0)
    x = x * hard_sigmoid(gate @ w["se/excite/kernel"][0, 0] + w["se/excite/bias"])[:, None, None]
    x = bn(x @ w["project/kernel"][0, 0], "project_bn") + X
    np.testing.assert_allclose(layer(X, training=False), x, rtol=2e-4)


def test_skip_let_is_one_matrix_on_every_second_pixel():
    layer = Skip(6, stride=2, mode="let")
    layer(X)
    assert [tuple(w.shape) for w in layer.weights] == [(1, 1, 4, 6)]
    np.testing.assert_allclose(layer(X), X[:, ::2, ::2] @ np.asarray(layer.weights[0])[0, 0], rtol=1e-5, atol=1e-6)


def test_skip_identity_pads_channels_with_zeros():
    layer = Skip(6, stride=2, mode="identity")
    expected = np.concatenate([X[:, ::2, ::2], np.zeros((2, 3, 3, 2), np.float32)], axis=-1)
    np.testing.assert_array_equal(layer(X), expected)
    assert not layer.weights


def test_choice_block_runs_the_choice_that_it_is_given():
    skip, block = Skip(4, seed=0), InvertedResidual(8, 4, 3, residual=True, seed=0)
    choices = ChoiceBlock([skip, block])
    np.testing.assert_array_equal(choices(X, np.int32(0)), skip(X))
    np.testing.assert_array_equal(choices(X, np.int32(1)), block(X))
    np.testing.assert_array_equal(choices.run(1, X), block(X))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SqueezeExcite(0), "squeeze_channels"),
        (lambda: InvertedResidual(8, 4, 4), "kernel_size"),
        (lambda: InvertedResidual(8, 4, 3, stride=3), "stride"),
        (lambda: InvertedResidual(8, 4, 3, stride=2, residual=True), "residual"),
        (lambda: InvertedResidual(8, 6, 3, residual=True)(X), "residual"),
        (lambda: Skip(4, mode="zero"), "mode"),
        (lambda: Skip(2, mode="identity")(X), "narrow"),
        (lambda: ChoiceBlock([]), "candidates"),
    ],
)
def test_bad_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_initial_weights_have_the_published_spread():
    layer = InvertedResidual(512, 64, 7, seed=0)
    layer(np.zeros((1, 8, 8, 64), np.float32))
    for conv, expected in (
        (layer.expand, np.sqrt(2 / 512)),
        (layer.depthwise, np.sqrt(2 / (49 * 512))),
        (layer.project, np.sqrt(2 / 64)),
    ):
        assert np.std(np.asarray(conv.weights[0])) == pytest.approx(expected, rel=0.03)


def test_initial_weights_depend_on_seed_and_name_alone():
    first, second, other = (InvertedResidual(8, 4, 3, seed=seed) for seed in (0, 0, 1))
    for layer in (first, second, other):
        layer(X)
    np.testing.assert_array_equal(first.expand.weights[0], second.expand.weights[0])
    assert not np.array_equal(first.expand.weights[0], other.expand.weights[0])


def test_a_block_that_no_space_has_is_refused():
    spec = InvertedResidualSpec("b", 8, 8, 8, 3, expand=False)
    with pytest.raises(ValueError, match="spec: expected an expansion and a hard-sigmoid gate"):
        InvertedResidual.from_spec(spec)
