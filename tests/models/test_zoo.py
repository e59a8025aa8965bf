import inspect

import keras
import numpy as np
import pytest
from tiny import tiny_space

import scarlet_tf as st
from scarlet_tf.base.errors import InputError
from scarlet_tf.models.zoo_data import ZOO, add_own
from scarlet_tf.space.cost import count, count_spec
from scarlet_tf.space.search_space import Architecture

BUILDERS = {name: getattr(st.applications, entry.constructor) for name, entry in ZOO.items()}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The name of a small network, for what does not depend on which one is built."""
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path / "zoo"))
    add_own("small", Architecture((0, 1, 3, 2), tiny_space()).lower((8, 8, 3), 4), {})
    return "small"


def images(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


# -- costs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ZOO))
def test_networks_have_the_params_that_are_counted_and_their_own_size(name):
    model, coefficients = BUILDERS[name](), ZOO[name].scaling
    assert model.input_shape == (None, coefficients.input_size, coefficients.input_size, 3)
    assert model.output_shape == (None, 1000)
    assert model.spec.dropout == coefficients.dropout
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == count_spec(model.spec).params
    assert count_spec(model.spec) == count(ZOO[name].architecture)


# Published with one decimal, cut rather than rounded in places: within 0.1 M, which is also the gap of our reading of A4.
@pytest.mark.parametrize("name", [name for name, entry in ZOO.items() if entry.published.params])
def test_params_are_the_published_ones(name):
    assert abs(count(ZOO[name].architecture).params - ZOO[name].published.params) <= 0.1e6 + 5e3


MULTIPLY_ADDS = {"scarlet_b": 0.007, "scarlet_a4": 0.02, "mobilenet_v2": 0.003}  # gaps that are stated; else rounding


@pytest.mark.parametrize("name", [name for name, entry in ZOO.items() if entry.published.multiply_adds])
def test_multiply_adds_are_the_published_ones_or_the_gap_is_stated(name):
    stated = ZOO[name].published.multiply_adds
    gap = abs(count(ZOO[name].architecture).multiply_adds - stated)
    assert gap <= (MULTIPLY_ADDS[name] * stated if name in MULTIPLY_ADDS else 0.5e6)
    assert gap <= 0.5e6 or ZOO[name].note


def test_networks_that_are_our_reading_say_so():
    assert [name for name, entry in ZOO.items() if entry.reading] == ["scarlet_a2", "scarlet_a4"]
    assert "[reading]" in st.applications.ScarletA2.__doc__ and "[reading]" not in st.ScarletA.__doc__


# -- MobileNetV2 beside that of keras.applications ----------------------------------------------------------------------


def test_mobilenet_v2_answers_as_that_of_keras_applications(rng):
    """At sizes that stay odd down to the last stride both pad alike; elsewhere Keras pads below and to the right alone."""
    options = {"input_shape": (33, 65, 3), "classes": 5, "classifier_activation": None}
    theirs = keras.applications.MobileNetV2(weights=None, **options)
    ours = st.applications.MobileNetV2(**options)
    pairs = [[layer for layer in model.layers if layer.weights] for model in (theirs, ours)]
    for source, target in zip(*pairs, strict=True):
        weights = [_drawn(rng, weight) for weight in source.weights]
        source.set_weights(weights)
        if isinstance(source, keras.layers.BatchNormalization):
            weights[-1] = weights[-1] + 1e-3 - 1e-5  # the epsilons, which both add to the variance
        target.set_weights(weights)
    x = images(rng, 2, 33, 65, 3)
    expected, found = np.asarray(theirs(x)), np.asarray(ours(x))
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())  # float32 through 53 convolutions


def _drawn(rng, weight):
    """Weights that keep activations at about 1, so that rounding errors stay small."""
    if weight.name in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, weight.shape)
    depthwise = len(weight.shape) == 4 and weight.shape[-1] == 1
    fan_in = np.prod(weight.shape[:2]) if depthwise else np.prod(weight.shape[:-1])
    return rng.normal(0, 0.1 if len(weight.shape) == 1 else np.sqrt(1 / fan_in), weight.shape)


def test_mobilenet_v2_has_the_params_of_keras_applications():
    theirs = keras.applications.MobileNetV2(weights=None)
    ours = st.applications.MobileNetV2()
    for weights in ("trainable_weights", "non_trainable_weights"):
        shapes = [sorted(tuple(w.shape) for w in getattr(model, weights) if w.name != "seed_generator_state")
                  for model in (theirs, ours)]  # fmt: skip
        assert shapes[0] == shapes[1]
    assert count(ZOO["mobilenet_v2"].architecture).params == 3_504_872


# -- conventions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ZOO))
def test_signature_is_that_of_keras_applications_and_features(name):
    expected = inspect.signature(keras.applications.EfficientNetB0).parameters
    assert list(inspect.signature(BUILDERS[name]).parameters) == [*expected, "features"]
    assert BUILDERS[name].__name__ == ZOO[name].constructor


def test_the_image_may_be_a_tensor(rng):
    image = keras.Input((64, 64, 3), name="image")
    model = st.ScarletC(input_tensor=image * 2.0, classes=7, classifier_activation=None)
    assert model.output_shape == (None, 7)
    assert model(images(rng, 1, 64, 64, 3)).shape == (1, 7)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_pooling_is_the_mean_or_maximum_of_the_features(pooling, small, rng):
    x = images(rng, 2, 20, 12, 3)
    models = [
        st.applications.build_zoo_network(small, False, input_shape=(20, 12, 3), pooling=kind)
        for kind in (None, pooling)
    ]
    models[1].set_weights(models[0].get_weights())
    reduce = {"avg": np.mean, "max": np.max}[pooling]
    np.testing.assert_allclose(models[1](x), reduce(models[0](x), axis=(1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("height", "width", "features"), [(64, 96, (2, 3)), (33, 65, (2, 3)), (32, 127, (1, 4))])
def test_sides_need_be_no_multiples_of_32_and_are_rounded_up(height, width, features, rng):
    model = st.FairNASC(include_top=False, input_shape=(height, width, 3))
    assert model.output_shape == (None, *features, 1280)
    assert model(images(rng, 1, height, width, 3)).shape == (1, *features, 1280)


def test_softmax_is_the_default_activation(small, rng):
    np.testing.assert_allclose(
        np.sum(st.applications.build_zoo_network(small)(images(rng, 2, 8, 8, 3)), axis=-1), 1, rtol=1e-5
    )


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_weights_come_from_a_file_with_or_without_the_top(ending, small, tmp_path, rng):
    model, path, x = st.applications.build_zoo_network(small), tmp_path / f"w{ending}", images(rng, 1, 8, 8, 3)
    (model.save_weights if ending == ".weights.h5" else model.save)(path)
    np.testing.assert_array_equal(model(x), st.applications.build_zoo_network(small, weights=str(path))(x))
    features = st.applications.build_zoo_network(small, include_top=False, weights=path)
    tail = keras.Model(model.input, model.get_layer("tail_conv_act").output)
    np.testing.assert_array_equal(tail(x), features(x))


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_network_are_refused(small, tmp_path):
    for ending, save in ((".keras", "save"), (".weights.h5", "save_weights")):
        getattr(st.applications.build_zoo_network(small), save)(tmp_path / f"w{ending}")
    add_own("other", Architecture((1, 1, 3, 2), tiny_space()).lower((8, 8, 3), 4), {})
    with pytest.raises(InputError, match=r"weights: .*w\.keras: expected a network of the same blocks"):
        st.applications.build_zoo_network("other", weights=tmp_path / "w.keras")
    with pytest.raises(InputError, match=r"weights: .*w\.weights\.h5: expected the \.weights\.h5 file of this very"):
        st.applications.build_zoo_network("other", weights=tmp_path / "w.weights.h5")
    with pytest.raises(InputError, match=r"classes: expected 4, those of .*w\.keras, or include_top=False, got 5"):
        st.applications.build_zoo_network(small, classes=5, weights=tmp_path / "w.keras")


def test_a_zoo_model_saves_and_loads(small, tmp_path, rng):
    model = st.applications.build_zoo_network(small)
    model.save(tmp_path / "b.keras")
    x = images(rng, 1, 8, 8, 3)
    np.testing.assert_array_equal(model(x), keras.models.load_model(tmp_path / "b.keras")(x))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"pooling": "mean"}, "pooling"),
        ({"weights": "imagenet"}, "weights: expected None, or the path"),
        ({"weights": "run"}, "weights: expected None, or the path"),
        ({"weights": __file__}, "weights: .*expected the .weights.h5 file"),
        ({"classes": 0}, "num_classes"),
        ({"input_shape": (16, 16, 3)}, "input_shape: .* at least 32 x 32 pixels"),
        ({"input_shape": (None, None, 3)}, "input_shape"),
        ({"input_shape": (64, 64, 3), "input_tensor": keras.Input((32, 32, 3))}, "input_shape"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        st.ScarletA(**arguments)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"zoo: expected one of \['scarlet_a', .*'mobilenet_v2'.*\], got 'resnet50'"):
        st.applications.build_zoo_network("resnet50")
