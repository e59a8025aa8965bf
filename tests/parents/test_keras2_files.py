"""Files of Keras 2: models of Keras 3 whose descriptions are put into its form, and MobileNetV3 as Keras 2 saves it."""

import importlib.util
import json
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras_networks import assert_same, pixels, randomised, tiny

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.parents.keras_models import from_keras_file

IMAGES = Preprocessing(32)


def hard_swish(x):
    """Of layers for which Keras 2 has operators."""
    sixth = layers.Rescaling(1 / 6)(layers.ReLU(6.0)(layers.Rescaling(1.0, offset=3.0)(x)))
    return layers.Multiply()([x, sixth])


def as_keras_2(described, **operators):
    """The description with groups of depthwise convolutions, slashes in names, and operators in place of scalings."""
    for layer in described["config"]["layers"]:
        config = layer["config"]
        if layer["class_name"] == "DepthwiseConv2D":
            config["groups"] = 1
        if layer["class_name"] == "Rescaling":
            source = layer["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0]
            kind, number = ("__operators__.add", 3.0) if config["offset"] else ("math.multiply", 1 / 6)
            layer["class_name"] = "TFOpLambda"
            layer["config"] = {"name": config["name"], "dtype": "float32", "function": operators.get(kind, kind)}
            layer["inbound_nodes"] = [[source, 0, 0, {"y": number, "name": None}]]
    return json.dumps(described).replace('"batch_normalization', '"Conv/BatchNorm')


def save(model, path, **operators):
    model.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = as_keras_2(json.loads(file.attrs["model_config"]), **operators)


def test_slashes_operators_and_groups_are_read(rng, tmp_path):
    model = randomised(tiny(activation=hard_swish), rng)
    save(model, tmp_path / "old.h5")
    with pytest.raises((TypeError, ValueError)):
        keras.saving.load_model(tmp_path / "old.h5")
    written = (tmp_path / "old.h5").read_bytes()
    parent = from_keras_file(tmp_path / "old.h5", IMAGES)
    assert_same(parent, model, pixels(rng, 32))
    assert (parent.name, parent.source, parent.spec.blocks[0].activation) == ("old", "old.h5", "hard_swish")
    assert (tmp_path / "old.h5").read_bytes() == written


def test_other_operators_are_named(tmp_path):
    save(tiny(activation=hard_swish), tmp_path / "old.h5", **{"math.multiply": "math.erf"})
    with pytest.raises(InputError, match=r"old\.h5: expected a whole Keras model, .*TFOpLambda"):
        from_keras_file(tmp_path / "old.h5", IMAGES)


KERAS_2 = """
import sys, numpy as np, tf_keras
rng = np.random.default_rng(0)
model = tf_keras.applications.MobileNetV3Small((64, 64, 3), alpha=0.25, weights=None, classes=7, classifier_activation=None)
for weight in model.weights:
    shape = weight.shape.as_list()
    fan_in = np.prod(shape[:2] if "depthwise_kernel" in weight.name else shape[:-1])
    if "kernel" in weight.name:
        weight.assign(rng.normal(0, np.sqrt(2 / fan_in), shape))
    elif "gamma" in weight.name or "variance" in weight.name:
        weight.assign(rng.uniform(0.5, 1.5, shape))
    else:
        weight.assign(rng.normal(0, 0.3, shape))
model.save("old.h5")
images = rng.uniform(0, 255, (3, 64, 64, 3)).astype(np.float32) * np.float32([0.1, 0.4, 1])[:, None, None, None]
np.savez("answers.npz", images=images, logits=model(images, training=False))
"""


@pytest.mark.slow
def test_mobilenet_v3_of_keras_2_answers_as_there(tmp_path):
    if importlib.util.find_spec("tf_keras") is None:
        pytest.skip("needs tf_keras: pip install 'scarlet_tf[optimization]'")
    subprocess.run([sys.executable, "-c", KERAS_2], cwd=tmp_path, check=True, capture_output=True)
    answers, parent = np.load(tmp_path / "answers.npz"), from_keras_file(tmp_path / "old.h5")
    assert parent.preprocessing.normalization == "inception" and len(parent.spec.blocks) == 11
    logits = parent.network()(parent.preprocessing.normalize(answers["images"]))
    scale = np.abs(answers["logits"]).max()
    assert answers["logits"].std(axis=0).max() > 1e-2 * scale
    np.testing.assert_allclose(logits, answers["logits"], atol=1e-4 * scale)
