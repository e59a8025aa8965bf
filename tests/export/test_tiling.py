"""Tiling a network for export: the same logits by another graph, and nothing where nothing is large."""

import keras
import numpy as np
import pytest

from scarlet_tf.export import flatbuffer
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.tiling import tile_depthwise
from scarlet_tf.export.verification import verify
from scarlet_tf.layers.tiled_depthwise import TiledDepthwiseConv2D
from scarlet_tf.models.network import build_network
from scarlet_tf.space import Architecture, SearchSpace, Stage

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


def test_large_kernels_are_tiled_and_the_logits_stay(network):
    tiled = tile_depthwise(network)
    kinds = [layer.kernel_size for layer in tiled.layers if isinstance(layer, TiledDepthwiseConv2D)]
    assert kinds == [(7, 7), (7, 7)]
    expected = network.predict(images(), verbose=0)
    # Other sums of the same products; the logits are of the order of 1.
    np.testing.assert_allclose(tiled.predict(images(), verbose=0), expected, atol=1e-5)


def test_a_network_without_large_kernels_is_left_as_it_is(model):
    assert tile_depthwise(model) is model


def test_files_of_tiled_networks_are_of_one_partition_and_near_the_network(network, tmp_path):
    for quantization, agreement in (("none", 1.0), ("int8", 0.8)):
        path = tmp_path / f"{quantization}.tflite"
        export_tflite(network, path, quantization, images())
        result = verify(path, network, images())
        assert result["passed"] and result["partitions"] == 1 and result["agreement"] >= agreement
        # Stem and kernel of 5: one each; two kernels of 7: six tiles each.
        assert result["operations"]["DEPTHWISE_CONV_2D"] == 2 + 2 * 6


def test_tiling_can_be_left_out(network, tmp_path):
    export_tflite(network, tmp_path / "m.tflite", tile=False)
    assert flatbuffer.count_operations((tmp_path / "m.tflite").read_bytes())["DEPTHWISE_CONV_2D"] == 4


@pytest.mark.parametrize(
    "options",
    [{"dilation_rate": 2}, {"strides": 2, "padding": "same"}, {"depth_multiplier": 2}, {"kernel_size": (7, 5)}],
)
def test_what_tiles_do_not_know_is_left_alone(options):
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.DepthwiseConv2D(**{"kernel_size": 7, **options})(image))
    assert tile_depthwise(model) is model
