import keras
import numpy as np
import pytest
from tiny import tiniest_space, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.network import Network, build_network, get_arrays, load_network, set_arrays
from scarlet_tf.space.cost import count, count_spec
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import IdentitySpec, InvertedResidualSpec, NetworkSpec


def params(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def multiply_adds(model):
    """Counted from the Keras layers themselves: kernel size times output pixels."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            total += int(np.prod(layer.kernel.shape[:3])) * int(np.prod(layer.output.shape[1:3]))
        elif isinstance(layer, keras.layers.Conv2D):
            total += int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.kernel.shape))
    return total


@pytest.mark.parametrize("name", ["s1", "s2"])
def test_costs_equal_what_keras_holds(name, rng):
    space = SearchSpace.from_name(name)
    for _ in range(4):
        choices = np.where(rng.random(19) < 0.3, space.num_choices - 1, space.sample(rng).choices)
        architecture = Architecture(tuple(choices), space)
        network = build_network(architecture, (64, 96, 3), 10)
        cost = count_spec(network.spec)
        assert (cost.multiply_adds, cost.params) == (multiply_adds(network), params(network))


def test_costs_of_let_paths_equal_what_keras_holds(rng):
    space = SearchSpace.from_name("s2")
    network = Network(space.sample(rng).lower((64, 64, 3), 10, skip="let"))
    cost = count_spec(network.spec)
    assert (cost.multiply_adds, cost.params) == (multiply_adds(network), params(network))


def test_skipped_layers_are_nothing():
    space = tiny_space()
    network = build_network(Architecture((3, 3, 3, 3), space), num_classes=5)
    assert not [layer.name for layer in network.layers if layer.name.startswith("block_") and layer.weights]
    assert count(Architecture((3, 3, 3, 3), space), num_classes=5).params == params(network)


def test_where_every_skip_is_an_identity_stem_and_tail_remain():
    architecture = Architecture((1,), tiniest_space())
    network = build_network(architecture, num_classes=5)
    assert network.spec.blocks == ()
    assert count(architecture, num_classes=5).params == params(network)
    assert network(np.zeros((2, 8, 8, 3), np.float32)).shape == (2, 5)


def test_a_skip_of_stride_2_keeps_every_second_pixel(rng):
    network = build_network(Architecture((3, 3, 3, 3), tiny_space()), num_classes=5)
    x = rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
    layers = {layer.name: layer for layer in network.layers}
    stem = keras.Model(network.input, layers["stem_project_bn"].output)(x)
    tail = keras.Model(network.input, layers["tail_conv"].output)(x)
    kernel = np.asarray(layers["tail_conv"].kernel)[0, 0]
    np.testing.assert_allclose(tail, np.asarray(stem)[:, ::2, ::2] @ kernel, rtol=1e-5, atol=1e-6)


def test_a_skip_of_stride_2_before_a_shortcut_keeps_every_second_pixel(rng):
    """The tiny space's second layer has a shortcut of its own only where the first left it its width."""
    space = tiny_space(first_channels=8)
    network = build_network(Architecture((3, 0, 3, 3), space), num_classes=5)
    x = rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
    layers = {layer.name: layer for layer in network.layers}
    stem, block, added = (
        keras.Model(network.input, layers[name].output)(x)
        for name in ("stem_project_bn", "block_01_project_bn", "block_01_add")
    )
    np.testing.assert_allclose(added, np.asarray(stem)[:, ::2, ::2] + block, rtol=1e-5, atol=1e-6)


def test_a_skip_of_stride_2_before_a_block_without_expansion_keeps_every_second_pixel(rng):
    """Its depthwise convolution would see other pixels if it ran with the stride itself."""
    blocks = (IdentitySpec("a", 8, 8, stride=2), InvertedResidualSpec("b", 8, 8, 8, 3, expand=False))
    network = Network(NetworkSpec((8, 8, 3), 5, 8, 1, None, blocks, 16), seed=0)
    x = rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
    layers = {layer.name: layer for layer in network.layers}
    stem, found = (
        np.asarray(keras.Model(network.input, layers[name].output)(x)) for name in ("stem_conv_act", "b_depthwise")
    )
    expected = keras.ops.depthwise_conv(stem[:, ::2, ::2], layers["b_depthwise"].kernel, 1, "same")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_network_with_everything_that_spaces_lack_saves_and_loads(rng, tmp_path):
    blocks = (InvertedResidualSpec("a", 8, 8, 8, 3, se_channels=4, se_gate="sigmoid", residual=True, expand=False),)
    ends = {"stem_activation": "hard_swish", "tail_activation": "relu", "head_channels": 12, "head_bias": False}
    network = Network(NetworkSpec((8, 8, 3), 5, 8, 2, None, blocks, 16, **ends))
    network.save(tmp_path / "network.keras")
    loaded = load_network(tmp_path / "network.keras")
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), network(x))
    assert loaded.spec == network.spec
    names = {layer.name for layer in network.layers if layer.weights}
    assert {"stem_conv", "a_depthwise", "a_project", "tail_conv", "head", "classifier"} <= names
    assert not names & {"stem_depthwise", "stem_project", "a_expand"}


def test_layer_names_are_stable_keys():
    network = build_network(Architecture((0, 1, 3, 2), tiny_space()), num_classes=5)
    names = {layer.name for layer in network.layers if layer.weights}
    assert {
        "stem_conv",
        "block_00_expand",
        "block_01_se_squeeze",
        "block_03_project_bn",
        "tail_conv",
        "classifier",
    } <= names
    assert not any(name.startswith("block_02") for name in names)


def test_arrays_round_trip_and_misfits_are_named(rng):
    architecture = tiny_space().sample(rng)
    first, second = (build_network(architecture, num_classes=5, seed=seed) for seed in (0, 1))
    arrays = get_arrays(first)
    set_arrays(second, arrays)
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(first(x), second(x))
    with pytest.raises(InputError, match=r"missing \['classifier/bias'\]"):
        set_arrays(second, {k: v for k, v in arrays.items() if k != "classifier/bias"})
    with pytest.raises(InputError, match=r"unexpected \['extra/kernel'\]"):
        set_arrays(second, {**arrays, "extra/kernel": np.zeros(1)})
    with pytest.raises(InputError, match="classifier/bias: expected"):
        set_arrays(second, {**arrays, "classifier/bias": np.zeros(7)})


def test_network_saves_and_loads(rng, tmp_path):
    network = build_network(tiny_space().sample(rng), num_classes=5)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), network(x))
    assert loaded.spec == network.spec
    np.testing.assert_array_equal(load_network(tmp_path / "network.keras")(x), network(x))


def test_load_network_names_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"missing\.keras: expected a network's \.keras file"):
        load_network(tmp_path / "missing.keras")
    (tmp_path / "torn.keras").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"torn\.keras: expected a network's \.keras file"):
        load_network(tmp_path / "torn.keras")
    keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(InputError, match=r"other\.keras: expected a network of this package, got a Sequential"):
        load_network(tmp_path / "other.keras")


def test_network_trains_under_stock_fit(rng):
    network = build_network(tiny_space().sample(rng), num_classes=5)
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = rng.normal(size=(8, 8, 8, 3)).astype(np.float32), np.arange(8) % 5
    losses = network.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def resaved(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def test_a_loaded_network_is_frozen_where_it_was_and_its_optimizer_goes_on(rng, tmp_path):
    network = build_network(Architecture((0, 1, 3, 2), tiny_space()), num_classes=5, dropout=0.0, seed=0)
    for layer in network.layers:
        layer.trainable = not layer.name.startswith(("stem", "block_00"))
    network.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, labels = rng.normal(size=(8, 8, 8, 3)).astype(np.float32), np.arange(8) % 5
    network.fit(x, labels, verbose=0)
    loaded = resaved(network, tmp_path)
    assert [layer.trainable for layer in loaded.layers] == [layer.trainable for layer in network.layers]
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in network.trainable_variables]
    for model in (network, loaded):
        model.fit(x, labels, shuffle=False, verbose=0)
    for one, other in zip(network.variables, loaded.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=one.path)  # threads add up in any order
    network.trainable = False
    network.get_layer("classifier").kernel_regularizer = keras.regularizers.L2(0.5)
    loaded = resaved(network, tmp_path)
    assert not loaded.trainable_variables and loaded.get_layer("classifier").kernel_regularizer.l2 == 0.5


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_loaded_network_has_its_quantised_weights_and_dtypes(rng, tmp_path):
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    network = build_network(Architecture((0, 1, 3, 2), tiny_space()), num_classes=5, seed=0)
    network.quantize("int8")
    loaded = resaved(network, tmp_path)
    assert keras.backend.standardize_dtype(loaded.get_layer("classifier").kernel.dtype) == "int8"
    np.testing.assert_array_equal(loaded(x), network(x))
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        network = build_network(Architecture((0, 1, 3, 2), tiny_space()), num_classes=5, seed=0)
    finally:
        keras.config.set_dtype_policy(before)
    loaded = load_network(resaved(network, tmp_path) and tmp_path / "model.keras")
    policies = [[layer.dtype_policy.name for layer in model.layers[1:]] for model in (network, loaded)]
    assert policies[0] == policies[1] and "mixed_bfloat16" in policies[0]
    assert loaded.get_layer("tail_conv").output.dtype == "bfloat16" and loaded.output.dtype == "float32"
    np.testing.assert_array_equal(loaded(x), network(x))


@pytest.mark.parametrize(
    "around",
    [
        lambda net: keras.Model(net.input, keras.layers.Dense(2)(net.output)),
        lambda net: keras.Sequential([net, keras.layers.Dense(2)]),
        lambda net: keras.Model(image := keras.Input((8, 8, 3)), keras.layers.Dense(2)(net(image))),
    ],
    ids=["graph", "sequential", "nested"],
)
def test_a_model_around_a_network_saves_and_loads(around, rng, tmp_path):
    network = build_network(Architecture((0, 1, 3, 2), tiny_space()), num_classes=5, seed=0)
    network.get_layer("stem_conv").trainable = False
    model = around(network)
    loaded = resaved(model, tmp_path)
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(load_network(tmp_path / "model.keras")(x), model(x))
    shapes = [[v.shape for v in one.trainable_variables] for one in (loaded, model)]
    assert shapes[0] == shapes[1]
    with pytest.raises(InputError, match="expected a network of this package, got a"):
        load_network(tmp_path / "model.keras", around=False)
