"""Foreign networks as Keras models and files: against keras.applications, against their own costs, and as TFLite files."""

import pathlib
import re

import keras
import numpy as np
import pytest
from tiny import randomised

import scarlet_tf as st
from scarlet_tf.latency.benchmark import benchmark
from scarlet_tf.models.foreign.networks import network_from_blocks
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.space.cost import count_spec
from scarlet_tf.space.spec import Conventions

ROOT = pathlib.Path(__file__).parents[2]
NETWORKS = ROOT / "configs" / "networks"
WITH_KERNEL = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
SMALL = ["ds_r1_k3_s1_c16_nre_se0.25", "ir_r1_k5_s2_e3_c24_se0.25", "ds_r1_k3_s2_c32_nr6"]


def small_spec(**changes):
    """Every extension of the spec in one network: plain stem, no expansions, both ends' activation, gate, head."""
    options = {"stem_channels": 16, "tail_channels": 40, "head_channels": 24, "activation": "hard_swish"}
    options |= {"input_shape": (17, 24, 3), "num_classes": 5}
    return network_from_blocks(SMALL, **{**options, **changes})


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def multiply_adds(model):
    """Counted from the Keras layers themselves: kernel size times output pixels."""
    total = 0
    for layer in filter(lambda layer: isinstance(layer, WITH_KERNEL), model.layers):
        shape = layer.kernel.shape
        kernel = np.prod(shape[:3]) if isinstance(layer, keras.layers.DepthwiseConv2D) else np.prod(shape)
        pixels = 1 if isinstance(layer, keras.layers.Dense) else np.prod(layer.output.shape[1:3])
        total += int(kernel) * int(pixels)
    return total


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
def test_costs_equal_what_keras_holds(gate, bias):
    spec = small_spec(se_gate=gate, head_bias=bias)
    model, cost = Network(spec), count_spec(spec)
    assert (cost.multiply_adds, cost.params) == (multiply_adds(model), trainable(model))
    assert model(np.zeros((2, 17, 24, 3), np.float32)).shape == (2, 5)


def test_without_classes_the_head_goes_too():
    model = Network(small_spec(num_classes=None))
    assert model.output_shape == (None, 3, 3, 40)  # 17 x 24 pixels, halved three times and rounded up
    assert not any(layer.name.startswith("head") for layer in model.layers)


# -- against the same networks in keras.applications --------------------------------------------------------------------

APPLICATIONS = {
    "efficientnet_b0": lambda **options: keras.applications.EfficientNetB0(**options),
    "mobilenet_v2": lambda **options: keras.applications.MobileNetV2(**options),
    "mobilenet_v3_large": lambda **options: keras.applications.MobileNetV3Large(include_preprocessing=False, **options),
    "mobilenet_v3_small": lambda **options: keras.applications.MobileNetV3Small(include_preprocessing=False, **options),
}
CONVENTIONS = Conventions("same", bn_epsilon=1e-3, bn_momentum=0.99)  # keras.applications' but for its momentum


@pytest.fixture(scope="module", params=APPLICATIONS)
def both(request):
    """(name, the network of keras.applications, ours with its weights) for images with even and odd sides on their way."""
    options = {"weights": None, "input_shape": (36, 36, 3), "classifier_activation": None}
    theirs = APPLICATIONS[request.param](**options)
    spec = st.network_from_file(NETWORKS / f"{request.param}.yaml", 36)
    ours = Network(spec.replace(conventions=CONVENTIONS), seed=0)
    set_arrays(ours, randomised(get_arrays(ours), np.random.default_rng(0)))
    for source, target in zip(layers_with_weights(ours), layers_with_weights(theirs), strict=True):
        target.set_weights([w.reshape(v.shape) for w, v in zip(source.get_weights(), target.weights, strict=True)])
    return request.param, theirs, ours


def layers_with_weights(model):
    """In the order of computation; MobileNetV3 of Keras has 1x1 convolutions where we have dense layers."""
    return [layer for layer in model.layers if layer.weights and not isinstance(layer, keras.layers.Normalization)]


def test_the_applications_answer_the_same_with_the_same_weights(both, rng):
    name, theirs, ours = both
    images = rng.normal(size=(4, 36, 36, 3)).astype(np.float32)
    scale = 255 if name.startswith("efficientnet") else 1  # its first layer divides by 255, its second does nothing
    expected, found = np.asarray(theirs(scale * images, training=False)), np.asarray(ours(images, training=False))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_the_applications_cost_the_same(both):
    _, theirs, ours = both
    cost = count_spec(ours.spec)
    assert cost.params == trainable(theirs)
    assert cost.multiply_adds == multiply_adds(theirs)


# -- as files ------------------------------------------------------------------------------------------------------------


def test_a_foreign_file_answers_what_the_network_answers(tmp_path, rng):
    network = Network(small_spec(), seed=0)
    set_arrays(network, randomised(get_arrays(network), rng))
    images = rng.normal(size=(16, 17, 24, 3)).astype(np.float32)
    described = st.export_tflite(network, tmp_path / "float.tflite")
    assert described["partitions"] == 1 and described["builtins_only"]
    result = st.verify(tmp_path / "float.tflite", network, (images, np.arange(16) % 5))
    spread = float(np.asarray(network(images, training=False)).std())
    assert result["max_logit_difference"] <= 1e-4 * max(1, spread)


def test_the_documented_lines_export_a_network_that_can_be_timed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = (ROOT / "docs" / "foreign.md").read_text()
    (tmp_path / "my_network.yaml").write_text(re.search(r"```yaml title=\S+\n(.*?)```", document, re.DOTALL).group(1))
    exec(re.search(r"```python\n(.*?)```", document, re.DOTALL).group(1), {})
    rows = benchmark(["my_network.tflite", "my_network_int8.tflite"], rounds=1, seconds_per_round=0.01)
    assert [row["partitions"] for row in rows] == [1, 1]
    assert rows[0]["multiply_adds"] == count_spec(st.network_from_file("my_network.yaml")).multiply_adds
