"""Checkpoints of published networks: names and shapes as the libraries have them, and what does not fit."""

import keras
import numpy as np
import pytest
from published_tensors import TENSORS, recorded

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.parents.layouts import layers
from scarlet_tf.parents.loading import parent
from scarlet_tf.parents.parent import Parent
from scarlet_tf.parents.published import PUBLISHED

SMALL = "mobilenetv3_small_050"


def library(model):
    return model.layout.partition("_")[0]


def shapes_of(model, classes=1000):
    return {key: shape for layer in layers(model, classes)[1] for _, key, shape in layer.tensors()}


@pytest.mark.parametrize(
    "model", [m for m in PUBLISHED if library(m) != "efficientnet"], ids=lambda m: f"{m.layout} {m.name}"
)
def test_names_and_shapes_are_the_librarys(model):
    assert recorded(shapes_of(model)) == TENSORS[f"{library(model)} {model.name}"]


def test_every_recorded_network_is_there():
    assert {f"{library(m)} {m.name}" for m in PUBLISHED if library(m) != "efficientnet"} == set(TENSORS)


def state(rng, name=SMALL, layout="timm", classes=10):
    """Random tensors of a published network; BN's are those of trained ones."""
    model = next(m for m in PUBLISHED if (m.name, m.layout) == (name, layout))
    found = {}
    for key, shape in shapes_of(model, classes).items():
        if key.endswith("running_var"):
            found[key] = rng.uniform(0.3, 2, shape)
        elif len(shape) == 1:
            found[key] = rng.normal(1 if key.endswith("weight") else 0, 0.3, shape)
        else:
            found[key] = rng.normal(0, 1.4 / np.sqrt(np.prod(shape[1:])), shape)
    return {key: array.astype(np.float32) for key, array in found.items()}


def write(path, tensors):
    with open(path, "wb") as file:
        np.savez(file, **tensors)
    return path


class Twin:
    """MobileNetV3-Small of half the width in plain Keras operations, which takes timm's tensors by their names."""

    # Expansion's width, kernel, stride, output, squeeze and activation of each block, by stage.
    STAGES = (
        [(16, 3, 2, 8, 8, "relu")],
        [(40, 3, 2, 16, 0, "relu"), (56, 3, 1, 16, 0, "relu")],
        [(64, 5, 2, 24, 16, "hs"), (144, 5, 1, 24, 40, "hs"), (144, 5, 1, 24, 40, "hs")],
        [(72, 5, 1, 24, 24, "hs"), (72, 5, 1, 24, 24, "hs")],
        [(144, 5, 2, 48, 40, "hs"), (288, 5, 1, 48, 72, "hs"), (288, 5, 1, 48, 72, "hs")],
    )

    def __init__(self, tensors, epsilon=1e-5, padding="symmetric"):
        self.tensors, self.epsilon, self.padding = tensors, epsilon, padding

    def conv(self, x, key, stride=1, depthwise=False):
        kernel = self.tensors[f"{key}.weight"].transpose(2, 3, 1, 0)
        margin = kernel.shape[0] // 2
        if self.padding == "symmetric":
            x = keras.ops.pad(x, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
        padding = "valid" if self.padding == "symmetric" else "same"
        if depthwise:
            return keras.ops.depthwise_conv(x, kernel.transpose(0, 1, 3, 2), stride, padding)
        return keras.ops.conv(x, kernel, stride, padding)

    def norm(self, x, key, act=None):
        gamma, beta, mean, variance = (
            self.tensors[f"{key}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
        )
        x = (x - mean) / np.sqrt(variance + self.epsilon) * gamma + beta
        return {"relu": keras.ops.relu, "hs": self.hard_swish, None: lambda x: x}[act](x)

    @staticmethod
    def hard_swish(x):
        return x * keras.ops.relu6(x + 3) / 6

    def squeeze(self, x, key, width):
        y = keras.ops.mean(x, axis=(1, 2), keepdims=True)
        y = keras.ops.relu(self.conv(y, f"{key}.conv_reduce") + self.tensors[f"{key}.conv_reduce.bias"])
        assert y.shape[-1] == width
        y = self.conv(y, f"{key}.conv_expand") + self.tensors[f"{key}.conv_expand.bias"]
        return x * keras.ops.relu6(y + 3) / 6

    def __call__(self, x):
        x = self.norm(self.conv(x, "conv_stem", 2), "bn1", "hs")
        for stage, blocks in enumerate(self.STAGES):
            for index, (hidden, _, stride, width, squeezed, act) in enumerate(blocks):
                at, before, number = f"blocks.{stage}.{index}", x, 1
                if stage > 0:
                    x, number = self.norm(self.conv(x, f"{at}.conv_pw"), f"{at}.bn1", act), 2
                assert x.shape[-1] == hidden
                x = self.norm(self.conv(x, f"{at}.conv_dw", stride, depthwise=True), f"{at}.bn{number}", act)
                x = self.squeeze(x, f"{at}.se", squeezed) if squeezed else x
                projection = f"{at}.conv_pwl" if stage > 0 else f"{at}.conv_pw"
                x = self.norm(self.conv(x, projection), f"{at}.bn{number + 1}")
                x = before + x if stride == 1 and width == before.shape[-1] else x
        x = self.norm(self.conv(x, "blocks.5.0.conv"), "blocks.5.0.bn1", "hs")
        x = keras.ops.mean(x, axis=(1, 2), keepdims=True)
        x = self.hard_swish(self.conv(x, "conv_head") + self.tensors["conv_head.bias"])[:, 0, 0]
        return x @ self.tensors["classifier.weight"].T + self.tensors["classifier.bias"]


def test_a_timm_network_answers_as_plain_operations_do(tmp_path, rng):
    tensors = state(rng)
    found = Parent.from_file(write(tmp_path / "w.npz", tensors))
    images = rng.normal(size=(3, 37, 64, 3)).astype(np.float32)
    expected = np.asarray(Twin(tensors)(images))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.network((37, 64, 3))(images), expected, atol=1e-4 * scale)
    assert np.abs(np.asarray(Twin(tensors, 1e-3)(images)) - expected).max() > 1e-3 * scale  # so epsilon matters ...
    assert np.abs(np.asarray(Twin(tensors, padding="same")(images)) - expected).max() > 1e-2 * scale  # ... and padding
    assert found.name == SMALL and found.spec.num_classes == 10
    assert found.preprocessing == Preprocessing(224, 0.875, "imagenet")


def test_tensors_of_another_type_prefixes_and_counters_are_read(tmp_path, rng):
    tensors = state(rng)
    plain = Parent.from_file(write(tmp_path / "w.npz", tensors))
    other = {f"module.{key}": array.astype(np.float64) for key, array in tensors.items()}
    other["module.bn1.num_batches_tracked"] = np.int64(7)
    assert Parent.from_file(write(tmp_path / "v.npz", other)).fingerprint == plain.fingerprint


def test_safetensors_are_read(tmp_path, rng):
    safetensors = pytest.importorskip(
        "safetensors.numpy", reason="needs safetensors: pip install 'scarlet_tf[pretrained]'"
    )
    tensors = state(rng)
    safetensors.save_file(tensors, tmp_path / "model.safetensors")
    plain = Parent.from_file(write(tmp_path / "w.npz", tensors))
    assert parent(tmp_path / "model.safetensors").fingerprint == plain.fingerprint


def test_a_network_without_classifier_has_no_classes(tmp_path, rng):
    tensors = {key: array for key, array in state(rng).items() if not key.startswith("classifier.")}
    found = Parent.from_file(write(tmp_path / "w.npz", tensors))
    assert found.spec.num_classes is None and not any(name.startswith("head/") for name in found.arrays)
    assert found.network((32, 32, 3)).output_shape == (None, 1, 1, 288)


def test_given_preprocessing_has_precedence(tmp_path, rng):
    images = Preprocessing(192, 1.0, "unit")
    found = Parent.from_file(write(tmp_path / "w.npz", state(rng)), preprocessing=images)
    assert found.preprocessing == images and found.spec.input_shape == (192, 192, 3)


LARGE = "mobilenetv3_small_100"


@pytest.mark.parametrize(
    "name, model, expected",
    [
        ("tf_mobilenetv3_small_100-37f49e2b.npz", None, "tf_mobilenetv3_small_100"),
        ("mobilenetv3_small_100_lamb-266a294c.npz", None, "mobilenetv3_small_100"),
        ("w.npz", "tf_mobilenetv3_small_100", "tf_mobilenetv3_small_100"),
        ("tf_mobilenetv3_small_100.npz", "mobilenetv3_small_100", "mobilenetv3_small_100"),
        ("models--timm--tf_mobilenetv3_small_100.in1k/snapshots/1/model.npz", None, "tf_mobilenetv3_small_100"),
    ],
)
def test_the_name_decides_between_networks_of_the_same_tensors(tmp_path, rng, name, model, expected):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    found = Parent.from_file(write(tmp_path / name, state(rng, LARGE)), model)
    padding, normalization = ("same", "inception") if expected.startswith("tf_") else ("symmetric", "imagenet")
    assert found.name == expected
    assert (found.spec.conventions.padding, found.preprocessing.normalization) == (padding, normalization)


def test_without_a_name_both_are_named(tmp_path, rng):
    message = r"w\.npz: the tensors fit mobilenetv3_small_100 and tf_mobilenetv3_small_100, .*model='tf_mobilenetv3_small_100'"
    with pytest.raises(InputError, match=message):
        parent(write(tmp_path / "w.npz", state(rng, LARGE)))


def test_missing_unexpected_and_wrong_tensors_are_named(tmp_path, rng):
    tensors = state(rng)
    for key in [key for key in tensors if key.startswith("blocks.1.1.bn1.")]:
        del tensors[key]
    for key in [key for key in tensors if key.startswith("blocks.1.0.bn1.")][:3]:
        del tensors[key]
    tensors |= {"more.weight": np.zeros(3, np.float32), "bn1.bias": np.zeros(9, np.float32)}
    message = (
        r"w\.npz: fits no published network; the closest is mobilenetv3_small_050: 7 missing: (blocks\.1\.[01]\.bn1\.\w+, ){5}"
        r"\.\.\.; 1 unexpected: more\.weight; 1 of the wrong shape: bn1\.bias \(expected \(16,\), got \(9,\)\)"
    )
    with pytest.raises(InputError, match=message):
        parent(write(tmp_path / "w.npz", tensors))
    with pytest.raises(InputError, match=r"w\.npz: expected fbnetc_100: .* missing: .*; .* unexpected"):
        Parent.from_file(tmp_path / "w.npz", "fbnetc_100")


@pytest.mark.parametrize(
    "model, message",
    [
        ("mobilenetv3_smal_050", "model: expected one of .*did you mean mobilenetv3_small_050"),
        ("mobilenet_v2", r"w\.npz: expected mobilenet_v2: .* missing: features\.0\.0\.weight"),
    ],
)
def test_a_wrong_model_is_named(tmp_path, rng, model, message):
    with pytest.raises(InputError, match=message):
        Parent.from_file(write(tmp_path / "w.npz", state(rng)), model)


def test_other_tensors_are_no_published_network(tmp_path):
    with pytest.raises(InputError, match=r"w\.npz: expected a checkpoint of a published network.*got the tensors x"):
        parent(write(tmp_path / "w.npz", {"x": np.zeros(3, np.float32)}))
