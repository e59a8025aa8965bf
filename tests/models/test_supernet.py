import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images_and_labels, randomise_supernet, skip_unless_computed, tiny_space

from scarlet_tf.base.errors import InputError
from scarlet_tf.export.folding import fold
from scarlet_tf.models.supernet import Supernet, extract
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.sampling import strict_fair_paths


@pytest.fixture(scope="module")
def supernet():
    model = Supernet(tiny_space(), num_classes=5)
    randomise_supernet(model, np.random.default_rng(0))
    return model


@pytest.mark.parametrize("skip", ["let", "identity", "relu"])
def test_path_equals_extracted_network(skip, rng):
    model = Supernet(tiny_space(), num_classes=5, skip=skip)
    randomise_supernet(model, rng)
    images, _ = images_and_labels(rng)
    for choices in [(3, 3, 3, 3), *(model.space.sample(rng).choices for _ in range(5))]:
        network = extract(model, Architecture(choices, model.space))
        # The same operations in another graph: only the order of float32 sums may differ.
        np.testing.assert_allclose(network(images), model(images, choices), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("skip", ["let", "identity"])
def test_a_path_with_projections_equals_the_extracted_network(skip, rng):
    """Skips that change the shape are the same 1x1 convolutions with BN in both; others are LETs, or absent."""
    space = tiny_space(skip_projection=True)
    model = Supernet(space, num_classes=5, skip=skip)
    randomise_supernet(model, rng)
    images, _ = images_and_labels(rng)
    for choices in [(3, 3, 3, 3), (3, 0, 3, 1)]:
        network = extract(model, Architecture(choices, space))
        np.testing.assert_allclose(network(images), model(images, choices), rtol=1e-5, atol=1e-5)
        projections = {block.name for block in network.spec.blocks if block.kind == "linear" and block.batch_norm}
        assert projections == {"block_00", "block_02"}
        folded, _ = fold(network)
        np.testing.assert_allclose(folded(images), network(images), rtol=1e-4, atol=1e-4)
        plain = Architecture(choices, space).lower((8, 8, 3), 5)
        assert [b.name for b in plain.blocks if b.kind == "linear"] == ["block_00", "block_02"]


@pytest.mark.parametrize("name", ["s1", pytest.param("s2", marks=pytest.mark.slow)])
def test_path_equals_extracted_network_in_the_published_spaces(name, rng):
    model = Supernet(SearchSpace.from_name(name, width_multiplier=0.25), (32, 32, 3), 10)
    randomise_supernet(model, rng)
    images = rng.normal(size=(2, 32, 32, 3)).astype(np.float32)
    architecture = model.space.sample(rng)
    expected = model(images, architecture)
    np.testing.assert_allclose(extract(model, architecture)(images), expected, rtol=1e-4, atol=1e-4)


def test_one_graph_serves_every_path(supernet, rng):
    traces = []

    @tf.function
    def forward(images, path):
        traces.append(1)
        return supernet(images, path)

    images, _ = images_and_labels(rng)
    for _ in range(4):
        path = supernet.space.sample(rng).choices
        np.testing.assert_allclose(forward(images, tf.constant(path)), supernet(images, path), rtol=1e-4, atol=1e-5)
    assert len(traces) == 1


def test_lanes_equal_single_paths(supernet, rng):
    images, _ = images_and_labels(rng)
    paths = strict_fair_paths(supernet.space, 0, 0)
    lanes = supernet.lanes(images, paths)
    for path, logits in zip(paths, lanes, strict=True):
        np.testing.assert_allclose(logits, supernet(images, path), rtol=1e-4, atol=1e-5)


def test_lanes_move_bn_statistics_like_single_paths(rng):
    """Every statistic but the stem's, which runs once in lanes and once a path otherwise."""
    images, _ = images_and_labels(rng)
    side_by_side, in_turn = (Supernet(tiny_space(), num_classes=5) for _ in range(2))
    paths = strict_fair_paths(side_by_side.space, 0, 0)
    side_by_side.lanes(images, paths, training=True)
    x = in_turn.stem(images, training=True)
    for path in paths:
        in_turn.tail(in_turn.features(x, path, training=True), training=True)
    for a, b in zip(side_by_side.non_trainable_variables, in_turn.non_trainable_variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)


@pytest.mark.parametrize("bad", [[0, 0, 0], [0, 0, 0, 4], [0, 0, 0, -1], [0, 0, 0, 0.5]])
@pytest.mark.parametrize("form", [list, np.array])
def test_bad_paths_are_refused_instead_of_clamped(supernet, rng, bad, form):
    with pytest.raises(InputError, match="architecture"):
        supernet(images_and_labels(rng)[0], form(bad))


def test_bad_tensor_paths_are_refused(supernet, rng):
    images, _ = images_and_labels(rng)
    with pytest.raises(InputError, match="choice from 0 to 3, got 9"):
        supernet(images, tf.constant([0, 0, 0, 9]))
    with pytest.raises(InputError, match="shape"):
        supernet(images, tf.constant([0, 0]))


def test_supernet_saves_and_loads(supernet, rng, tmp_path):
    supernet.save(tmp_path / "supernet.keras")
    loaded = keras.models.load_model(tmp_path / "supernet.keras")
    images, _ = images_and_labels(rng)
    path = supernet.space.sample(rng)
    np.testing.assert_array_equal(loaded(images, path), supernet(images, path))
    assert loaded.space == supernet.space


def test_extracted_network_saves_and_loads(supernet, rng, tmp_path):
    network = extract(supernet, supernet.space.sample(rng))
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    images, _ = images_and_labels(rng)
    np.testing.assert_array_equal(loaded(images), network(images))
    assert loaded.spec == network.spec


def test_initial_weights_follow_the_seed():
    first, second, other = (Supernet(tiny_space(), num_classes=5, seed=seed) for seed in (0, 0, 1))
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [v for v in first.weights if "kernel" in v.name]
    different = [
        not np.array_equal(a, b) for a, b in zip(first.weights, other.weights, strict=True) if "kernel" in a.name
    ]
    assert len(different) == len(kernels) and all(different)


@pytest.mark.parametrize("shape", [(9, 13, 3), (7, 8, 1)])
def test_sides_may_be_odd_or_differ_and_channels_too(shape, rng):
    model = Supernet(tiny_space(), shape, 5)
    randomise_supernet(model, rng)
    images = rng.normal(size=(2, *shape)).astype(np.float32)
    for choices in ((3, 3, 3, 3), (1, 0, 3, 2)):
        network = extract(model, Architecture(choices, model.space))
        np.testing.assert_allclose(network(images), model(images, choices), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_answers_float32_near_the_full_one(policy, rng):
    skip_unless_computed(policy)
    full, images = Supernet(tiny_space(), num_classes=5), images_and_labels(rng)[0]
    keras.config.set_dtype_policy(policy)
    try:
        mixed = Supernet(tiny_space(), num_classes=5)
        network = extract(mixed, mixed.space.sample(rng))
    finally:
        keras.config.set_dtype_policy("float32")
    path = (1, 0, 3, 2)
    logits = mixed(images, path)
    assert logits.dtype == network(images).dtype == "float32"
    # bfloat16 keeps 8 bits: 0.4 % of a layer's activations, over some fifteen layers.
    np.testing.assert_allclose(logits, full(images, path), atol=0.05 * np.abs(full(images, path)).max())


def test_keras_configured_for_channels_first_changes_nothing(supernet, rng):
    keras.config.set_image_data_format("channels_first")
    try:
        twin = Supernet(tiny_space(), num_classes=5)
        twin.set_weights(supernet.get_weights())
        network = extract(twin, Architecture((1, 0, 3, 2), twin.space))
    finally:
        keras.config.set_image_data_format("channels_last")
    images, _ = images_and_labels(rng)
    np.testing.assert_array_equal(twin(images, (1, 0, 3, 2)), supernet(images, (1, 0, 3, 2)))
    np.testing.assert_allclose(network(images), supernet(images, (1, 0, 3, 2)), rtol=1e-5, atol=1e-5)


def test_an_architecture_of_another_space_is_refused(supernet, rng):
    other = tiny_space("other", choices=(Choice(2, 3), Choice(2, 5), Choice(2, 7), Choice()))
    for use in (lambda a: extract(supernet, a), lambda a: supernet(images_and_labels(rng)[0], a)):
        with pytest.raises(InputError, match="belongs to space 'other'"):
            use(Architecture((0, 1, 2, 3), other))


def test_extraction_takes_the_supernets_activation(supernet):
    relu6 = Architecture((0, 1, 2, 3), tiny_space(activation="relu6"))
    assert extract(supernet, relu6).spec.blocks[0].activation == "hard_swish"


def test_lanes_refuse_paths_that_are_not_fair(supernet, rng):
    images, _ = images_and_labels(rng)
    with pytest.raises(InputError, match="every choice of every layer once"):
        supernet.lanes(images, np.zeros((4, 4), int))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_classes": 0}, "num_classes"),
        ({"input_shape": (8, 8)}, "input_shape"),
        ({"input_shape": 8}, "input_shape"),
        ({"space": tiny_space(stages=(Stage(8, 3, 1), Stage(4, 1, 1))), "skip": "identity"}, "cannot narrow 8 to 4"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        Supernet(**{"space": tiny_space(), **arguments})


def test_a_wrong_skip_is_named():
    with pytest.raises(InputError, match="skip: expected one of"):
        Supernet(tiny_space(), skip="none")
