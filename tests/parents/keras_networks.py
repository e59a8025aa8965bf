"""Keras models of inverted residual blocks that can be changed in every part, with random weights, and their comparison."""

import keras
import numpy as np
from keras import layers


def randomised(model, rng):
    """The model with every weight drawn at random, batch normalisation's statistics included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            randomised(layer, rng)
        if isinstance(layer, (keras.Model, layers.Normalization)):
            continue
        for weight in layer.weights:
            shape = tuple(weight.shape)
            fan_in = np.prod(shape[:2] if isinstance(layer, layers.DepthwiseConv2D) else shape[:-1])
            draws = {
                "gamma": lambda shape: rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape),
                "moving_variance": lambda shape: rng.uniform(0.3, 2.0, shape),
                "kernel": lambda shape, fan_in=fan_in: rng.normal(0, np.sqrt(2 / fan_in), shape),
            }
            weight.assign(draws.get(weight.name, lambda shape: rng.normal(0, 0.3, shape))(shape))
    return model


def pixels(rng, size, count=2):
    return rng.uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def assert_same(parent, model, images, scaled=False, flipped=False):
    """The parent's output is the model's for images [B, H, W, 3] in 0..255.

    scaled: the model scales them itself; flipped: it takes blue first.
    """
    normalised = np.asarray(parent.preprocessing.normalize(images))
    given = images if scaled else normalised
    expected = np.asarray(model(given[..., ::-1] if flipped else given, training=False))
    found = np.asarray(parent.network(images.shape[1:])(normalised, training=False))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-4 * np.abs(expected).max())


def relu6(x):
    return layers.ReLU(6.0)(x)


def squeeze_excite(x, squeezed=None, gate=lambda x: layers.Activation("sigmoid")(x)):
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
    squeezed = squeezed or (lambda x: layers.Conv2D(4, 1, activation="relu")(x))
    return layers.Multiply()([x, gate(layers.Conv2D(x.shape[-1], 1)(squeezed(pooled)))])


def classifier(x):
    return layers.Dense(7)(layers.GlobalAveragePooling2D()(x))


def tiny(
    size=32,
    *,
    front=lambda x: x,
    activation=relu6,
    attention=lambda x: x,
    convolution=layers.Conv2D,
    normalization=lambda: layers.BatchNormalization(),
    strided=lambda x, make: make(padding="same")(x),
    projected=lambda x: x,
    add=lambda x, y: layers.Add()([x, y]),
    tail=lambda x: x,
    end=classifier,
):
    """Stem, a block of stride 2, one with a shortcut and attention, tail and end; each part may be another."""
    image = keras.Input((size, size, 3))
    x = strided(front(image), lambda **options: convolution(8, 3, strides=2, **options))
    x = activation(normalization()(x))
    for stride, kernel in ((2, 3), (1, 5)):
        shortcut = x
        x = activation(normalization()(convolution(16, 1)(x)))
        if stride == 2:
            x = strided(x, lambda **options: layers.DepthwiseConv2D(3, strides=2, **options))
        else:
            x = layers.DepthwiseConv2D(kernel, padding="same", use_bias=False)(x)
        x = activation(normalization()(x))
        x = x if stride == 2 else attention(x)
        x = projected(normalization()(convolution(8, 1)(x)))
        x = x if stride == 2 else add(shortcut, x)
    x = activation(normalization()(convolution(16, 1)(tail(x))))
    return keras.Model(image, end(x), name="mine")


def head(x):
    x = layers.Conv2D(12, 1, use_bias=False)(layers.Reshape((1, 1, 16))(layers.GlobalAveragePooling2D()(x)))
    return layers.Flatten()(layers.Conv2D(7, 1)(layers.Dropout(0.5)(relu6(x))))


def zeros(*sides):
    return lambda x, make: make(padding="valid")(layers.ZeroPadding2D(sides)(x))


def application(name, **options):
    make = getattr(keras.applications, name)
    options = {"weights": None, "classes": 7, "classifier_activation": None, **options}
    return lambda size: make(input_shape=(size, size, 3), **options)


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": np.array([0.229, 0.224, 0.225])}


def efficientnet_front(x):
    """As in keras.applications with weights: a division by the square root of the deviation, twice."""
    x = layers.Normalization(mean=IMAGENET["mean"], variance=IMAGENET["std"])(layers.Rescaling(1 / 255)(x))
    return layers.Rescaling((1 / np.sqrt(IMAGENET["std"])).tolist())(x)
