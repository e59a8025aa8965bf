"""Parents out of Keras models: their logits against the models' own, and what is refused."""

import keras
import numpy as np
import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.parents.parent import Parent

INCEPTION = Preprocessing(64, normalization="inception")


def randomised(model, rng):
    """The model with every weight drawn at random, batch normalisation's statistics included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            randomised(layer, rng)
        for weight in () if isinstance(layer, (keras.Model, keras.layers.Normalization)) else layer.weights:
            shape = weight.shape
            draws = {
                "gamma": lambda shape: rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape),
                "moving_variance": lambda shape: rng.uniform(0.3, 2.0, shape),
                "kernel": lambda shape: rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape),
            }
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                draws["kernel"] = lambda shape: rng.normal(0, np.sqrt(2 / np.prod(shape[:2])), shape)
            weight.assign(draws.get(weight.name, lambda shape: rng.normal(0, 0.3, shape))(shape))
    return model


def logits(model):
    """The model without the activation at its end."""
    last = model.layers[-1]
    if isinstance(last, keras.layers.Dense):
        last.activation = keras.activations.linear
        return keras.models.clone_model(model, clone_function=lambda layer: layer)
    if isinstance(last, keras.layers.Activation):
        return keras.Model(model.inputs, last.input)
    return model


def assert_same(parent, model, images, *, scaled=False):
    """The parent's logits are the model's for images [B, H, W, 3] in 0..255; scaled: the model scales them itself."""
    normalised = parent.preprocessing.normalize(images)
    expected = np.asarray(logits(model)(images if scaled else normalised, training=False))
    found = np.asarray(parent.network(images.shape[1:])(normalised, training=False))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def pixels(rng, size, count=2):
    return rng.uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def with_weights_of(model, make, size):
    """The same model for images of `size` pixels."""
    other = make(size)
    other.set_weights(model.get_weights())
    return other


def v2(size):
    return keras.applications.MobileNetV2(weights=None, input_shape=(size, size, 3), alpha=0.35, classes=7)


def v3(kind, **options):
    make = getattr(keras.applications, f"MobileNetV3{kind}")
    return lambda size: make(weights=None, input_shape=(size, size, 3), alpha=0.25, classes=7, **options)


def b0(size):
    return keras.applications.EfficientNetB0(weights=None, input_shape=(size, size, 3), classes=7)


# The model's maker, another size, whether it scales its images itself, and the spec: first_channels, blocks, first block's
# (expand, residual, SE channels), head_channels, activations of stem and last block.
FAMILIES = {
    "mobilenet_v2": (v2, 47, False, (8, 16, (True, False, 0), None, "relu6", "relu6")),
    "mobilenet_v3_small": (v3("Small"), 71, True, (None, 11, (False, False, 8), 1024, "hard_swish", "hard_swish")),
    "mobilenet_v3_large": (
        v3("Large", include_preprocessing=False, classifier_activation=None),
        48,
        False,
        (None, 15, (False, False, 0), 1280, "hard_swish", "hard_swish"),
    ),
    "minimalistic": (v3("Large", minimalistic=True), 48, True, (8, 14, (True, False, 0), 1280, "relu", "relu")),
    "efficientnet_b0": (b0, 47, True, (None, 16, (False, False, 8), None, "silu", "silu")),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_keras_applications(name, rng):
    make, other_size, scaled, facts = FAMILIES[name]
    model = randomised(make(64), rng)
    parent = Parent.from_keras(model, None if scaled else INCEPTION, name)
    spec, first = parent.spec, parent.spec.blocks[0]
    found = (first.expand, first.residual, first.se_channels)
    found = (spec.first_channels, len(spec.blocks), found, spec.head_channels)
    assert (*found, spec.stem_activation, spec.blocks[-1].activation) == facts
    assert (spec.num_classes, spec.input_shape, spec.conventions.padding) == (7, (64, 64, 3), "same")
    assert_same(parent, model, pixels(rng, 64), scaled=scaled)
    assert_same(parent, with_weights_of(model, make, other_size), pixels(rng, other_size), scaled=scaled)


@pytest.mark.parametrize(
    ("layer", "mean", "std"),
    [
        (keras.layers.Normalization(mean=[10.0, 20.0, 30.0], variance=[16.0, 25.0, 36.0]), [10, 20, 30], [4, 5, 6]),
        (keras.layers.Rescaling(1 / 100, offset=-0.3), 30, 100),
        (keras.layers.Rescaling(1 / 128, offset=-127 / 128), "lite", None),
    ],
)
def test_scaling_inside_the_model_becomes_the_preprocessing(layer, mean, std, rng):
    images, plain = keras.Input((64, 64, 3)), v2(64)
    model = randomised(keras.Model(images, plain(layer(images))), rng)
    parent = Parent.from_keras(model, name="scaled")
    given = mean if std is None else {"mean": mean, "std": std}
    assert parent.preprocessing == Preprocessing(64, normalization=given)
    seen = pixels(rng, 64)
    expected = np.asarray(logits(plain)(layer(seen)))
    found = np.asarray(parent.network()(parent.preprocessing.normalize(seen)))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    with pytest.raises(InputError, match=r"preprocessing\.normalization: expected .*, which scaled does itself"):
        Parent.from_keras(model, Preprocessing(64, normalization="imagenet"), name="scaled")
