import keras
import numpy as np
import pytest

from scarlet_tf.layers import ChoiceBlock, SpecBlock, Stem, Tail
from scarlet_tf.space.spec import IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec

pytestmark = pytest.mark.both_modes

X = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32)
IMAGE = X[..., :3]


def ends(**changes):
    """Stem of 8 and 6 channels, tail of 8, five classes."""
    fields = {"stem_channels": 8, "stem_stride": 2, "first_channels": 6, "tail_channels": 8}
    return NetworkSpec(**{"input_shape": (6, 6, 3), "num_classes": 5, "blocks": (), **fields, **changes})


def residual_block(**changes):
    """An inverted residual of 4 channels, 8 inside, with a filter of 3 x 3."""
    fields = {"in_channels": 4, "hidden_channels": 8, "out_channels": 4, "kernel_size": 3}
    return InvertedResidualSpec("block", **{**fields, **changes})


SKIP = LinearSpec("skip", 4, 4)


def hard_sigmoid(x):
    return np.clip(x / 6 + 0.5, 0, 1)


@pytest.mark.parametrize(
    "layer, x",
    [
        (SpecBlock(residual_block(kernel_size=5, stride=2, se_channels=2, activation="relu6"), seed=2), X),
        (SpecBlock(residual_block(residual=True)), X),
        (SpecBlock(residual_block(hidden_channels=4, expand=False, se_channels=2, se_gate="sigmoid")), X),
        (SpecBlock(LinearSpec("skip", 4, 6, 2), seed=3), X),
        (SpecBlock(IdentitySpec("skip", 4, 6)), X),
        (SpecBlock(LinearSpec("skip", 4, 6, activation="relu")), X),
        (SpecBlock(LinearSpec("skip", 4, 6, 2, batch_norm=True)), X),
        (Stem(ends(), seed=4), IMAGE),
        (Stem(ends(first_channels=None)), IMAGE),
        (Tail(ends(), seed=5), X),
        (Tail(ends(head_channels=7, head_bias=False, tail_activation="hard_swish")), X),
        (Tail(ends(num_classes=None)), X),
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
    block = ChoiceBlock([SpecBlock(SKIP), SpecBlock(residual_block(residual=True))])
    block(X, np.int32(0))
    twin = ChoiceBlock.from_config(block.get_config())
    twin(X, np.int32(0))
    twin.set_weights(block.get_weights())
    np.testing.assert_array_equal(twin(X, np.int32(1)), block(X, np.int32(1)))


def test_an_inverted_residual_pads_symmetrically_at_stride_2():
    """A kernel that copies its centre must return every second pixel, the first one included."""
    layer = SpecBlock(residual_block(hidden_channels=4, stride=2, activation="relu"))
    layer(X)
    centre = np.zeros((3, 3, 4, 1), np.float32)
    centre[1, 1] = 1
    layer.inner["depthwise"].set_weights([centre])
    for name in ("expand", "project"):
        layer.inner[name].set_weights([np.eye(4, dtype=np.float32)[None, None]])
    scale = 1 / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(layer(X), np.maximum(X[:, ::2, ::2], 0) * scale**3, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("expand", [True, False])
@pytest.mark.parametrize("gate", ["hard_sigmoid", "sigmoid"])
def test_an_inverted_residual_equals_its_numpy_twin(expand, gate):
    channels = 8 if expand else 4
    spec = residual_block(hidden_channels=channels, kernel_size=5, se_channels=2, se_gate=gate, residual=True)
    layer = SpecBlock(InvertedResidualSpec(**{**vars(spec), "expand": expand}), seed=0)
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

    x = swish(bn(X @ w["expand/kernel"][0, 0], "expand_bn")) if expand else X
    padded = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)])
    x = sum(padded[:, i : i + 6, j : j + 6] * w["depthwise/kernel"][i, j, :, 0] for i in range(5) for j in range(5))
    x = swish(bn(x, "depthwise_bn"))
    squeezed = np.maximum(x.mean(axis=(1, 2)) @ w["se_squeeze/kernel"][0, 0] + w["se_squeeze/bias"], 0)
    excited = squeezed @ w["se_excite/kernel"][0, 0] + w["se_excite/bias"]
    excited = hard_sigmoid(excited) if gate == "hard_sigmoid" else 1 / (1 + np.exp(-excited))
    x = bn(x * excited[:, None, None] @ w["project/kernel"][0, 0], "project_bn") + X
    np.testing.assert_allclose(layer(X, training=False), x, rtol=2e-4)


def test_a_let_is_one_matrix_on_every_second_pixel():
    layer = SpecBlock(LinearSpec("skip", 4, 6, 2))
    layer(X)
    assert [tuple(w.shape) for w in layer.weights] == [(1, 1, 4, 6)]
    np.testing.assert_allclose(layer(X), X[:, ::2, ::2] @ np.asarray(layer.weights[0])[0, 0], rtol=1e-5, atol=1e-6)


def test_a_normalised_skip_is_a_matrix_and_bn_by_hand(rng):
    layer = SpecBlock(LinearSpec("skip", 4, 6, 2, batch_norm=True))
    layer(X)
    gamma, beta, mean, variance = rng.normal(size=(4, 6))
    variance = variance**2 + 0.1
    kernel = np.asarray(layer.parts()["let"].get_weights()[0])[0, 0]
    layer.parts()["let_bn"].set_weights([gamma, beta, mean, variance])
    expected = (X[:, ::2, ::2] @ kernel - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    np.testing.assert_allclose(layer(X, training=False), expected, rtol=1e-4, atol=1e-5)


def test_an_identity_pads_channels_with_zeros():
    layer = SpecBlock(IdentitySpec("skip", 4, 6, 2))
    expected = np.concatenate([X[:, ::2, ::2], np.zeros((2, 3, 3, 2), np.float32)], axis=-1)
    np.testing.assert_array_equal(layer(X), expected)
    assert not layer.weights and not layer.parts()


def test_choice_block_runs_the_choice_that_it_is_given():
    skip, block = SpecBlock(SKIP, seed=0), SpecBlock(residual_block(residual=True), seed=0)
    choices = ChoiceBlock([skip, block])
    np.testing.assert_array_equal(choices(X, np.int32(0)), skip(X))
    np.testing.assert_array_equal(choices(X, np.int32(1)), block(X))
    np.testing.assert_array_equal(choices.run(1, X), block(X))


def test_batch_normalisation_in_a_block_learns_in_training_alone():
    layer = SpecBlock(residual_block())
    layer(X, training=False)
    assert not np.any(layer.inner["expand_bn"].moving_mean)
    layer(X, training=True)
    means = [np.array(layer.inner[f"{name}_bn"].moving_mean) for name in ("expand", "depthwise", "project")]
    assert all(map(np.any, means))
    weights, statistics = layer.trainable_variables, layer.non_trainable_variables
    _, moved = layer.stateless_call(weights, [0 * v for v in statistics], X, training=True)
    for mean, value in zip(means, moved[::2], strict=True):
        np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SpecBlock(residual_block(kernel_size=4)), "kernel_size"),
        (lambda: SpecBlock(residual_block(stride=2, residual=True)), "residual"),
        (lambda: SpecBlock(residual_block())(IMAGE), "expected 4 input channels, got 3"),
        (lambda: SpecBlock(IdentitySpec("skip", 4, 2)), "narrow"),
        (lambda: ChoiceBlock([]), "candidates"),
    ],
)
def test_bad_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_initial_weights_have_the_published_spread():
    layer = SpecBlock(InvertedResidualSpec("block", 64, 512, 64, 7), seed=0)
    layer(np.zeros((1, 8, 8, 64), np.float32))
    for name, expected in (
        ("expand", np.sqrt(2 / 512)),
        ("depthwise", np.sqrt(2 / (49 * 512))),
        ("project", np.sqrt(2 / 64)),
    ):
        assert np.std(np.asarray(layer.inner[name].weights[0])) == pytest.approx(expected, rel=0.03)


def test_initial_weights_depend_on_seed_and_name_alone():
    first, second, other = (SpecBlock(residual_block(), seed=seed) for seed in (0, 0, 1))
    for layer in (first, second, other):
        layer(X)
    kernels = [layer.inner["expand"].weights[0] for layer in (first, second, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
