"""A small network, its images and its exported files, shared by the tests of this folder."""

import keras
import numpy as np
import pytest

from scarlet_tf.data.datasets import DataConfig, load_dataset
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.models.network import build_network
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace

SIZE, CLASSES = 16, 4
LABELS = ["ant", "bee", "cat", "dog"]
PREPROCESSING = Preprocessing(SIZE, 0.875)


def make_architecture(activation="hard_swish"):
    choices = SearchSpace.from_name("s2").choices
    space = SearchSpace("tiny", (Stage(16, 2, 2),), choices, 8, 1, 8, 32, activation=activation, input_size=SIZE)
    return Architecture((1, 9), space)


def make_network(activation="hard_swish"):
    """Squeeze-and-excitation, a stride and a residual; BN as after training: scales drawn, statistics measured."""
    model, rng = (
        build_network(make_architecture(activation), (SIZE, SIZE, 3), CLASSES, seed=0),
        np.random.default_rng(0),
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.3, layer.beta.shape))
            layer.momentum = 0.0  # the statistics of one batch replace the initial ones
    model(make_images(), training=True)
    _spread_logits(model)
    return model


def make_images():
    """Images that differ in their mean colour, so that pooling does not make them all alike."""
    rng = np.random.default_rng(1)
    images = rng.normal(0, 0.5, [40, 1, 1, 3]) + rng.normal(0, 0.3, [40, SIZE, SIZE, 3])
    return np.clip(images, -1, 1).astype(np.float32)


def _spread_logits(model):
    """Scales the classifier to logits of mean 0 and deviation 1 over `make_images`: all classes then occur."""
    logits, classifier = model.predict(make_images(), verbose=0), model.layers[-1]
    kernel, bias = classifier.get_weights()
    scale = 1 / logits.std(axis=0)
    classifier.set_weights([kernel * scale, (bias - logits.mean(axis=0)) * scale])


@pytest.fixture(scope="session")
def architecture():
    return make_architecture()


@pytest.fixture(scope="session")
def model():
    return make_network()


@pytest.fixture(scope="session")
def relu6_model():
    return make_network("relu6")


@pytest.fixture(scope="session")
def data(model):
    # The model's own answers as labels: its top-1 is then 1 and the file's is the agreement.
    return make_images(), model.predict(make_images(), verbose=0).argmax(-1)


@pytest.fixture(scope="session")
def float_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "model.tflite"
    export_tflite(
        model,
        path,
        labels=LABELS,
        preprocessing=PREPROCESSING,
        architecture=make_architecture(),
        provenance={"seed": 3},
    )
    return path


@pytest.fixture(scope="session")
def int8_file(model, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "model_int8.tflite"
    export_tflite(model, path, "int8", data)
    return path


@pytest.fixture(scope="session")
def digits():
    config = DataConfig(source="digits", image_size=16, crop_fraction=0.875, max_train_examples=800)
    return load_dataset(config)


@pytest.fixture(scope="session")
def network(digits):
    """Random convolutions under a classifier that is fitted by least squares: right on most digits at no cost."""
    keras.utils.set_random_seed(0)
    image = keras.Input([16, 16, 3])
    hidden = keras.layers.Conv2D(24, 5, strides=2, padding="same", activation="relu")(image)
    hidden = keras.layers.Conv2D(48, 3, strides=2, padding="same", activation="relu")(hidden)
    features = keras.Model(image, keras.layers.Flatten()(hidden))
    images, labels = next(digits.train.batches(800).as_numpy_iterator())
    x = np.c_[features.predict(images, verbose=0), np.ones(len(images))]
    weights = np.linalg.solve(x.T @ x + 1e-1 * np.eye(x.shape[1]), x.T @ (10 * np.eye(10)[labels]))
    logits = keras.layers.Dense(10)
    model = keras.Model(image, logits(features.output))
    logits.set_weights([weights[:-1], weights[-1]])
    return model
