"""Scaling that a Keras model does to its images itself, its channels' order and its images' size, as a parent's preprocessing."""

import keras
import numpy as np
import pytest
from keras import layers
from keras_networks import application, assert_same, efficientnet_front, pixels, randomised, tiny

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.parents.parent import Parent


def adapted(x):
    layer = layers.Normalization()
    values = np.array([[0.0, 0, 0], [255, 255, 255]], np.float32)[None]
    layer.adapt(values)  # mean 127.5, deviation 127.5
    return layer(x)


FRONTS = {
    "rescaling": (lambda x: layers.Rescaling(1 / 127.5, offset=-1)(x), "inception", "rgb"),
    "operations": (lambda x: keras.applications.mobilenet_v2.preprocess_input(x), "inception", "rgb"),
    "efficientnet": (efficientnet_front, "imagenet", "rgb"),
    "adapted": (adapted, "inception", "rgb"),
    "blue_first": (
        lambda x: layers.Normalization(mean=[103.53, 116.28, 123.675], variance=[57.375**2, 57.12**2, 58.395**2])(x),
        "imagenet",
        "bgr",
    ),
    "lite": (lambda x: layers.Rescaling(1 / 128, offset=-127 / 128)(x), "lite", "rgb"),
    "no_name": (lambda x: layers.Rescaling(1 / 100, offset=-0.3)(x), {"mean": 30, "std": 100}, "rgb"),
    "small": (lambda x: layers.Rescaling(4.0)(layers.Rescaling(1 / 255)(x)), {"mean": 0, "std": 63.75}, "rgb"),
    "blue_first_without_a_name": (
        lambda x: layers.Normalization(mean=[30.0, 20, 10], variance=[36.0, 25, 16])(x),
        {"mean": [10, 20, 30], "std": [4, 5, 6]},
        "bgr",
    ),
    "reversed_inside": (lambda x: efficientnet_front(x)[..., ::-1], "imagenet", "rgb"),
    "reversed_twice": (
        lambda x: layers.Rescaling(1 / 255)(x[..., ::-1]),
        "unit",
        "bgr",
    ),
}


@pytest.mark.parametrize("name", FRONTS)
def test_scaling_inside_the_model_becomes_preprocessing(name, rng):
    front, normalization, order = FRONTS[name]
    model = randomised(tiny(front=front), rng)
    parent = Parent.from_keras(model, channel_order=order)
    assert parent.preprocessing == Preprocessing(32, normalization=normalization)
    assert_same(parent, model, pixels(rng, 32), scaled=True, flipped=order == "bgr")
    given = Preprocessing(32, crop_fraction=0.875, normalization=normalization)
    assert Parent.from_keras(model, given, channel_order=order).preprocessing == given


@pytest.mark.parametrize("front", [lambda x: x, lambda x: x[..., ::-1]])
def test_blue_first_without_scaling(front, rng):
    model = randomised(tiny(front=front), rng)
    parent = Parent.from_keras(model, Preprocessing(32, normalization="unit"), channel_order="bgr")
    assert_same(parent, model, pixels(rng, 32), flipped=True)


@pytest.mark.parametrize(
    ("front", "given", "message"),
    [
        (lambda x: x, None, "mine: expected preprocessing, as the model does not scale its images itself"),
        (lambda x: x, Preprocessing(64), r"preprocessing.image_size: expected .*\(32, 32\), got 64"),
        (
            lambda x: layers.Rescaling(1 / 255)(x),
            Preprocessing(32),
            "preprocessing.normalization: expected 'unit', which mine does itself, got 'inception'",
        ),
        (
            lambda x: layers.Rescaling(2.0)(x),
            Preprocessing(32, normalization={"mean": 0, "std": 0.505}),
            "preprocessing.normalization: expected .*0.5.*, which mine does itself, got .*0.505",
        ),
        (
            lambda x: layers.Rescaling(-1 / 255, name="negative")(x),
            None,
            "layer 'negative' .*expected a positive scale",
        ),
        (lambda x: layers.Activation("tanh", name="tanh")(x), None, "layer 'tanh' .*expected a positive scale"),
        (
            lambda x: layers.Resizing(16, 16, name="resized")(x),
            None,
            r"layer 'resized' \(Resizing\): expected a convolution",
        ),
    ],
)
def test_preprocessing_that_does_not_fit(front, given, message):
    with pytest.raises(InputError, match=message):
        Parent.from_keras(tiny(front=front), given)


def test_images_of_any_size(rng):
    model = randomised(application("MobileNetV2", alpha=0.35, include_top=False, pooling="avg")(None), rng)
    with pytest.raises(InputError, match=r"expected preprocessing with an image_size, as the model takes .* any size"):
        Parent.from_keras(model)
    with pytest.raises(InputError, match=r"layer 'block_6_depthwise' .*\(9, 9\) pixels"):
        Parent.from_keras(model, Preprocessing(72))  # the model itself would leave out a row at an odd size
    assert_same(Parent.from_keras(model, Preprocessing(64)), model, pixels(rng, 64))


def test_images_that_are_not_square():
    image = keras.Input((32, 48, 3))
    model = keras.Model(image, tiny(None)(layers.Rescaling(1 / 255)(image)), name="wide")
    with pytest.raises(InputError, match=r"wide: expected square images, got \(32, 48\)"):
        Parent.from_keras(model)
