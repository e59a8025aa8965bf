"""Parents out of Keras models: their logits against the models' own, and the files that they are read from."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_networks import (
    application,
    assert_same,
    classifier,
    efficientnet_front,
    head,
    pixels,
    randomised,
    squeeze_excite,
    tiny,
    zeros,
)
from tiny import randomised as randomised_arrays

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.parents.keras_models import from_keras_file
from scarlet_tf.parents.parent import Parent
from scarlet_tf.space.spec import Conventions, InvertedResidualSpec, NetworkSpec

# -- The families of keras.applications ---------------------------------------------------------------------------------

# The model's maker, another size, whether it scales its images itself, and the spec: first_channels, blocks, first block's
# (expand, residual, SE channels), head_channels, activations of stem and last block.
FAMILIES = {
    "mobilenet_v2": (
        application("MobileNetV2", alpha=0.35),
        47,
        False,
        (8, 16, (True, False, 0), None, "relu6", "relu6"),
    ),
    "mobilenet_v3_small": (
        application("MobileNetV3Small", alpha=0.25),
        71,
        True,
        (None, 11, (False, False, 8), 1024, "hard_swish", "hard_swish"),
    ),
    "mobilenet_v3_large": (
        application("MobileNetV3Large", alpha=0.25, include_preprocessing=False),
        48,
        False,
        (None, 15, (False, False, 0), 1280, "hard_swish", "hard_swish"),
    ),
    "minimalistic": (
        application("MobileNetV3Small", alpha=0.25, minimalistic=True),
        48,
        True,
        (None, 11, (False, False, 0), 1024, "relu", "relu"),
    ),
    "efficientnet_b0": (
        application("EfficientNetB0"),
        47,
        True,
        (None, 16, (False, False, 8), None, "silu", "silu"),
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_keras_applications(name, rng):
    make, other_size, scaled, facts = FAMILIES[name]
    model = randomised(make(64), rng)
    parent = Parent.from_keras(model, None if scaled else Preprocessing(64), name)
    spec, first = parent.spec, parent.spec.blocks[0]
    found = (first.expand, first.residual, first.se_channels)
    found = (spec.first_channels, len(spec.blocks), found, spec.head_channels)
    assert (*found, spec.stem_activation, spec.blocks[-1].activation) == facts
    assert (spec.num_classes, spec.input_shape, spec.conventions.padding) == (7, (64, 64, 3), "same")
    assert_same(parent, model, pixels(rng, 64), scaled)
    other = make(other_size)
    other.set_weights(model.get_weights())
    assert_same(parent, other, pixels(rng, other_size), scaled)


# -- Other people's networks ----------------------------------------------------------------------------------------------


def check(rng, model, **options):
    """The parent of the model with random weights, whose output is the model's."""
    parent = Parent.from_keras(randomised(model, rng), Preprocessing(model.input_shape[1]), **options)
    assert_same(parent, model, pixels(rng, model.input_shape[1]))
    return parent


SHARED = layers.ReLU(6.0)
SPELLINGS = {
    "relu6": [
        lambda x: layers.Activation("relu6")(x),
        lambda x: ops.relu6(x),
        lambda x: SHARED(x),
        lambda x: ops.minimum(layers.ReLU()(x), 6.0),
    ],
    "relu": [lambda x: layers.Activation(keras.activations.relu)(x), lambda x: ops.maximum(x, 0)],
    "hard_swish": [
        lambda x: layers.Activation("hard_silu")(x),
        lambda x: layers.Multiply()([x, layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)]),
        lambda x: x * layers.Activation("hard_sigmoid")(x),
    ],
    "silu": [lambda x: layers.Activation("swish")(x), lambda x: ops.sigmoid(x) * x],
}


@pytest.mark.parametrize(("name", "index"), [(name, i) for name, made in SPELLINGS.items() for i in range(len(made))])
def test_an_activation_is_known_by_what_it_computes(name, index, rng):
    spec = check(rng, tiny(activation=SPELLINGS[name][index])).spec
    assert {spec.stem_activation, spec.tail_activation, *(block.activation for block in spec.blocks)} == {name}


def dense_gate(x):
    pooled = layers.Dense(1, use_bias=False)(ops.mean(x, axis=(1, 2)))  # one channel, no bias
    gate = layers.Dense(x.shape[-1], activation="hard_sigmoid")(layers.Activation("silu")(pooled))
    return x * layers.Reshape((1, 1, x.shape[-1]))(gate)


ATTENTIONS = {
    "sigmoid": (squeeze_excite, (4, "relu", "sigmoid")),
    "composed": (
        lambda x: squeeze_excite(x, gate=lambda x: layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)),
        (4, "relu", "hard_sigmoid"),
    ),
    "dense": (dense_gate, (1, "silu", "hard_sigmoid")),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_squeeze_and_excitation(name, rng):
    attention, facts = ATTENTIONS[name]
    block = check(rng, tiny(attention=attention)).spec.blocks[1]
    assert (block.se_channels, block.se_activation, block.se_gate) == facts
    assert (block.kernel_size, block.residual, block.stride) == (5, True, 1)


def test_batch_normalisation_without_scale_and_offset_and_convolutions_with_bias(rng):
    kinds = iter([{"scale": False}, {"center": False}, {"epsilon": 0.1, "axis": 3}] * 3)
    parent = check(rng, tiny(normalization=lambda: layers.BatchNormalization(momentum=0.9, **next(kinds))))
    assert parent.spec.conventions == Conventions("same", bn_epsilon=1e-3, bn_momentum=0.9)


@pytest.mark.parametrize(
    ("size", "strided", "padding"),
    [
        (32, zeros((1, 1), (1, 1)), "symmetric"),
        (32, zeros((0, 1), (0, 1)), "same"),
        (33, zeros((1, 1), (1, 1)), "same"),  # 33 and 17 are odd, where both are equal
        (32, zeros((0, 2), (0, 2)), "same"),  # more zeros than are read
    ],
)
def test_padding_is_compared_as_it_acts(size, strided, padding, rng):
    assert check(rng, tiny(size, strided=strided)).spec.conventions.padding == padding


ENDS = {
    "classifier": (classifier, {"num_classes": 7}),
    "head": (head, {"num_classes": 7, "head_channels": 12, "head_bias": False}),
    "no_bias": (
        lambda x: layers.Dense(7, use_bias=False)(layers.GlobalAveragePooling2D()(x)),
        {"num_classes": 7},
    ),
    "nothing": (lambda x: x, {"num_classes": None, "pooling": None}),
    "mean": (lambda x: layers.GlobalAveragePooling2D(keepdims=True)(x), {"num_classes": None, "pooling": "avg"}),
    "maximum": (lambda x: layers.GlobalMaxPooling2D()(x), {"num_classes": None, "pooling": "max"}),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_end(name, rng):
    end, fields = ENDS[name]
    spec = check(rng, tiny(end=end)).spec
    assert {key: getattr(spec, key) for key in fields} == fields
    assert spec.head_channels == fields.get("head_channels")


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling2D()(x)),
        lambda x: layers.Softmax()(classifier(x)),
        lambda x: layers.Activation("softmax")(head(x)),
    ],
)
def test_a_softmax_at_the_end_is_dropped(end, rng):
    model = randomised(tiny(end=end), rng)
    parent = Parent.from_keras(model, Preprocessing(32))
    images = pixels(rng, 32) / 128 - 1
    logits = np.asarray(parent.network()(images, training=False))
    np.testing.assert_allclose(ops.softmax(logits), model(images, training=False), atol=1e-5)
    assert np.abs(logits.sum(axis=1) - 1).min() > 1e-3


def test_models_in_models_and_layers_that_do_nothing_at_inference(rng):
    """As in transfer learning: augmentation, a network without a head, called in inference mode, a new head."""
    base = randomised(
        tiny(end=lambda x: x, projected=lambda x: layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))(x)), rng
    )
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    top = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(7)])
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(augmentation(image))
    models = [keras.Model(image, top(base(x, training=False))), keras.Sequential([base, top])]
    for model, scaled in zip(models, (True, False), strict=True):
        randomised(top, rng)
        parent = Parent.from_keras(model, None if scaled else Preprocessing(32), name="nested")
        assert parent.preprocessing == Preprocessing(32, normalization="inception")
        assert_same(parent, model, pixels(rng, 32), scaled)
        assert parent.network().name == "nested"


def test_a_network_of_ours_keeps_its_spec(rng):
    spec = NetworkSpec(
        (32, 32, 3),
        5,
        8,
        2,
        12,
        (
            InvertedResidualSpec("block_00", 12, 24, 16, 5, 2, 8),
            InvertedResidualSpec("block_01", 16, 16, 16, 3, residual=True, expand=False, activation="silu"),
        ),
        24,
    )
    network = Network(spec, seed=0)
    set_arrays(network, randomised_arrays(get_arrays(network), rng))
    parent = Parent.from_keras(network, Preprocessing(32))
    assert parent.spec == spec
    for key, array in get_arrays(network).items():
        np.testing.assert_allclose(parent.arrays[key], array, rtol=1e-6, err_msg=key)


def test_a_model_in_mixed_precision(rng):
    model = randomised(tiny(attention=squeeze_excite), rng)

    def mixed(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"})

    half = keras.models.clone_model(model, clone_function=mixed)
    half.set_weights(model.get_weights())
    parent = Parent.from_keras(half, Preprocessing(32))
    assert_same(parent, model, pixels(rng, 32))


# -- Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_file(ending, rng, tmp_path):
    model = randomised(tiny(front=efficientnet_front, attention=squeeze_excite), rng)
    path = tmp_path / f"bees.{ending}"
    model.save(path)
    parent = from_keras_file(path)
    assert (parent.name, parent.source) == ("bees", path.name)
    assert parent.fingerprint == from_keras_file(str(path)).fingerprint
    assert_same(parent, model, pixels(rng, 32), scaled=True)
    assert from_keras_file(path, Preprocessing(32, normalization="imagenet"), "wasps").name == "wasps"


@pytest.mark.parametrize("name", ["missing.keras", "damaged.keras", "weights.weights.h5"])
def test_a_file_that_is_no_model(name, tmp_path):
    (tmp_path / "damaged.keras").write_bytes(b"no archive")
    if name.startswith("weights"):
        tiny().save_weights(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: expected a whole Keras model, as model.save writes it: "):
        from_keras_file(tmp_path / name)


class Unknown(layers.Layer):
    """A layer that is registered nowhere."""

    def call(self, x):
        return x + 1


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("make", [Unknown, lambda: layers.Lambda(lambda x: x + 1)])
def test_a_file_that_asks_for_other_code(make, ending, tmp_path):
    """Functions in a file are not run."""
    tiny(front=lambda x: make()(x)).save(tmp_path / f"foreign.{ending}")
    with pytest.raises(InputError, match=f"foreign.{ending}: expected a whole Keras model, .*: .*(Unknown|[Ll]ambda)"):
        from_keras_file(tmp_path / f"foreign.{ending}", Preprocessing(32))
