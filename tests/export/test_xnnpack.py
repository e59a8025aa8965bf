"""Networks rewritten for XNNPACK: the same logits by another graph, and nothing where nothing is to be done."""

import keras
import numpy as np
import pytest

from scarlet_tf.evaluation import kernels
from scarlet_tf.export import flatbuffer
from scarlet_tf.export.tflite import export_tflite, rewrite_for_xnnpack
from scarlet_tf.export.verification import verify
from scarlet_tf.layers import core
from scarlet_tf.layers.core import Subsample
from scarlet_tf.layers.split_depthwise import SplitDepthwiseConv2D
from scarlet_tf.models.network import build_network
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace

SIZE = 12


@pytest.fixture(scope="module")
def network():
    """Kernels of 7 with stride 2 and with stride 1 and a shortcut, one of 5; BN statistics of random images."""
    choices = SearchSpace.from_name("s2").choices
    space = SearchSpace("tiny", (Stage(12, 3, 2),), choices, 8, 1, 8, 32, input_size=SIZE)
    model = build_network(Architecture((4, 5, 2), space), num_classes=4, seed=0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images(), training=True)
    return model


def images():
    return np.random.default_rng(0).normal(size=(24, SIZE, SIZE, 3)).astype(np.float32)


def test_large_kernels_are_split_and_the_logits_stay(network):
    split = rewrite_for_xnnpack(network)
    kinds = [layer.kernel_size for layer in split.layers if isinstance(layer, SplitDepthwiseConv2D)]
    assert kinds == [(7, 7), (7, 7)]
    expected = network.predict(images(), verbose=0)
    # Other sums of the same products; the logits are of the order of 1.
    np.testing.assert_allclose(split.predict(images(), verbose=0), expected, atol=1e-5)


def test_a_network_without_large_kernels_is_left_as_it_is(model):
    assert rewrite_for_xnnpack(model) is model


@pytest.fixture(scope="module")
def split_file(network, tmp_path_factory):
    """Written while training's kernels are put to use."""
    core.use_kernels("tensorflow", pointwise=kernels.pointwise_conv)
    path = tmp_path_factory.mktemp("split") / "with.tflite"
    export_tflite(network, path)
    return path


def test_files_of_split_networks_are_of_one_partition_and_near_the_network(network, split_file, tmp_path):
    int8_file = tmp_path / "int8.tflite"
    export_tflite(network, int8_file, "int8", images())
    for path, agreement in ((split_file, 1.0), (int8_file, 0.8)):
        result = verify(path, network, images())
        assert result["passed"] and result["partitions"] == 1 and result["agreement"] >= agreement
        # Stem and kernel of 5: one each; two kernels of 7: three strips each.
        assert result["operations"]["DEPTHWISE_CONV_2D"] == 2 + 2 * 3


def test_files_are_the_same_whether_or_not_training_put_its_kernels_to_use(network, split_file, tmp_path):
    with core.without_kernels():
        export_tflite(network, tmp_path / "without.tflite")
    assert flatbuffer.count_operations(split_file.read_bytes())["FULLY_CONNECTED"] == 1
    assert split_file.read_bytes() == (tmp_path / "without.tflite").read_bytes()
    assert core._kernels["tensorflow", "pointwise"] is kernels.pointwise_conv


def test_splitting_can_be_left_out(network, tmp_path):
    export_tflite(network, tmp_path / "m.tflite", for_xnnpack=False)
    assert flatbuffer.count_operations((tmp_path / "m.tflite").read_bytes())["DEPTHWISE_CONV_2D"] == 4


@pytest.mark.parametrize("alone, count", [(True, 0), (False, 1)])
def test_zeros_in_front_are_taken_over_where_nothing_else_reads_them(alone, count):
    image = keras.Input((12, 12, 3))
    padded = keras.layers.ZeroPadding2D(3)(image)
    answer = keras.layers.DepthwiseConv2D(7, strides=2)(padded)
    if not alone:
        answer = keras.layers.Concatenate()([answer, keras.layers.DepthwiseConv2D(8, strides=2)(padded)[:, :6, :6]])
    model = keras.Model(image, answer)
    split = rewrite_for_xnnpack(model)
    assert sum(isinstance(layer, keras.layers.ZeroPadding2D) for layer in split.layers) == count
    pixels = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype(np.float32)
    np.testing.assert_allclose(split.predict(pixels, verbose=0), model.predict(pixels, verbose=0), atol=1e-5)


def test_a_model_whose_input_has_no_name_is_split_too():
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.DepthwiseConv2D(7, padding="same")(image))
    pixels = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    split = rewrite_for_xnnpack(model)
    assert split is not model
    np.testing.assert_allclose(split.predict(pixels, verbose=0), model.predict(pixels, verbose=0), atol=1e-5)


def test_a_skip_of_stride_2_in_front_of_a_shortcut_leaves_one_partition(tmp_path):
    """Such pixels cannot be left out by the convolution behind, for the shortcut reads them, too."""
    choices = SearchSpace.from_name("s2").choices
    space = SearchSpace("tiny", (Stage(8, 2, 2),), choices, 8, 1, 8, 32, input_size=SIZE)
    model = build_network(Architecture((12, 0), space), num_classes=4, seed=0)
    assert [layer.stride for layer in model.layers if isinstance(layer, Subsample)] == [2]
    rewritten = rewrite_for_xnnpack(model)
    np.testing.assert_array_equal(rewritten.predict(images(), verbose=0), model.predict(images(), verbose=0))
    for whole, partitions in ((True, 1), (False, 2)):
        description = export_tflite(model, tmp_path / "m.tflite", for_xnnpack=whole)
        assert description["partitions"] == partitions


@pytest.mark.parametrize(
    "options",
    [{"dilation_rate": 2}, {"strides": 2, "padding": "same"}, {"depth_multiplier": 2}, {"kernel_size": (7, 5)}],
)
def test_what_strips_do_not_know_is_left_alone(options):
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.DepthwiseConv2D(**{"kernel_size": 7, **options})(image))
    assert rewrite_for_xnnpack(model) is model
