"""Feature maps of several strides: which tensors they are, their shapes and weights."""

import keras
import numpy as np
import pytest
from tiny import randomised, tiny_space

import scarlet_tf as st
from scarlet_tf.base.errors import InputError
from scarlet_tf.models.features import feature_extractor, layer_groups
from scarlet_tf.models.network import Network, build_network, get_arrays, set_arrays
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.search_space import Architecture

# Layers: stride 4, 4, 8, 8; choice 3 is a skip.
SPACE = tiny_space(stages=(Stage(8, 2, 2), Stage(12, 2, 2)), stem_stride=2, input_size=32)


def network(choices=(0, 1, 2, 0), **options):
    found = build_network(Architecture(choices, SPACE), (32, 32, 3), 5, seed=0, **options)
    set_arrays(found, randomised(get_arrays(found), np.random.default_rng(1)))
    return found


def images(size=32):
    return np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)


def test_zoo_features_are_the_last_tensors_of_strides_4_to_32():
    model = st.ScarletA(include_top=False, features=True, input_shape=(64, 96, 3))
    widths = {"stride_4": 32, "stride_8": 40, "stride_16": 96, "stride_32": 320}
    strides = {"stride_4": 4, "stride_8": 8, "stride_16": 16, "stride_32": 32}
    assert {name: map.shape[1:] for name, map in model.output.items()} == {
        name: (64 // stride, 96 // stride, widths[name]) for name, stride in strides.items()
    }


def test_a_file_of_the_whole_network_fills_its_features(tmp_path):
    whole = st.FairNASC(input_shape=(32, 32, 3), classes=4)
    set_arrays(whole, randomised(get_arrays(whole), np.random.default_rng(1)))
    whole.save_weights(tmp_path / "w.weights.h5")
    model = st.FairNASC(features=True, input_shape=(64, 64, 3), weights=str(tmp_path / "w.weights.h5"))
    arrays = get_arrays(whole)
    assert len(get_arrays(model)) == len(arrays) - 7  # the tail's five and the classifier's two
    for key, array in get_arrays(model).items():
        np.testing.assert_array_equal(array, arrays[key], err_msg=key)


def test_features_have_no_pooling():
    with pytest.raises(InputError, match="pooling: expected None with features"):
        st.ScarletC(features=True, pooling="avg")


def test_the_last_feature_map_is_what_the_tail_reads():
    """Recomputed by hand from the tail of the network itself: convolution, BN, ReLU6, mean, dense."""
    whole = network()
    features = feature_extractor(whole)(images())
    assert {name: tuple(value.shape[1:]) for name, value in features.items()} == {
        "stride_4": (8, 8, 8),
        "stride_8": (4, 4, 12),
    }
    x = features["stride_8"]
    for layer in ("tail_conv", "tail_conv_bn", "tail_conv_act", "tail_pool", "classifier"):
        x = whole.get_layer(layer)(x)
    np.testing.assert_allclose(x, whole(images()), rtol=1e-5, atol=1e-5)


def test_each_map_is_the_output_of_the_last_block_of_its_stride():
    whole = network()
    names = [block.name for block in whole.spec.blocks]
    groups = layer_groups(whole, whole.spec)
    ends = {"stride_4": groups[names[1]][-1], "stride_8": groups[names[3]][-1]}
    probe = keras.Model(whole.input, {name: layer.output for name, layer in ends.items()})
    expected, found = probe(images()), feature_extractor(whole)(images())
    for name in ends:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("choices", [(3, 1, 3, 0), (0, 3, 0, 3), (3, 1, 0, 3), (0, 3, 3, 0)])
def test_skipped_layers_leave_the_strides_where_the_pixels_are(choices):
    model = feature_extractor(Architecture(choices, SPACE), seed=0)
    sides = {name: value.shape[1] for name, value in model(images()).items()}
    assert sides == {"stride_4": 8, "stride_8": 4}


def test_other_image_sizes_are_served_by_the_same_weights():
    whole = network()
    model = feature_extractor(whole, input_shape=(50, 40, 3))
    assert model.output["stride_4"].shape == (None, 13, 10, 8)  # rounded up
    before = get_arrays(whole)
    for key, array in get_arrays(model).items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)
    set_arrays(whole, {key: np.zeros_like(array) for key, array in before.items()})
    assert np.abs(get_arrays(model)["stem_conv/kernel"]).max() > 0  # a copy


def test_a_stride_that_the_network_does_not_have_is_named_with_those_that_it_has():
    with pytest.raises(InputError, match=r"strides: expected some of \[2, 4, 8\].*got \[16\]"):
        feature_extractor(network(), strides=(16,))
    assert list(feature_extractor(network(), strides=(2, 8)).output) == ["stride_2", "stride_8"]


def test_an_extractor_saves_and_loads(tmp_path):
    model = feature_extractor(network())
    model.save(tmp_path / "features.keras")
    loaded = keras.saving.load_model(tmp_path / "features.keras")
    for name, value in model(images()).items():
        np.testing.assert_array_equal(loaded(images())[name], value)


def test_a_spec_gets_random_weights_from_the_seed():
    spec = Architecture((0, 1, 2, 0), SPACE).lower((32, 32, 3), None)
    first, second = (get_arrays(feature_extractor(spec, seed=3)) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert not isinstance(feature_extractor(spec), Network)
