import keras
import numpy as np
import pytest

import scarlet_tf as st
from scarlet_tf.cost import count_spec
from scarlet_tf.errors import InputError
from scarlet_tf.models.zoo_data import ZOO

BUILDERS = {
    "scarlet_a": st.ScarletA,
    "scarlet_b": st.ScarletB,
    "scarlet_c": st.ScarletC,
    "fairnas_a": st.FairNASA,
    "fairnas_b": st.FairNASB,
    "fairnas_c": st.FairNASC,
}


@pytest.mark.parametrize("name", sorted(ZOO))
def test_networks_have_their_published_params(name):
    model = BUILDERS[name]()
    assert model.output_shape == (None, 1000)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == count_spec(model.spec).params
    # Published with one decimal, cut rather than rounded in places: within 0.1 M.
    assert abs(trainable - ZOO[name].published_params) < 0.1e6


def test_signature_is_that_of_keras_applications():
    image = keras.Input((64, 64, 3))
    model = st.ScarletC(input_tensor=image * 2.0, classes=7, classifier_activation=None)
    assert model.output_shape == (None, 7)
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    assert model(x).shape == (1, 7)
    features = st.ScarletC(include_top=False, input_shape=(64, 96, 3))
    assert features.output_shape == (None, 2, 3, 1280)
    for pooling in ("avg", "max"):
        assert st.ScarletC(include_top=False, input_shape=(32, 32, 3), pooling=pooling).output_shape == (None, 1280)


def test_softmax_is_the_default_activation():
    model = st.ScarletC(input_shape=(32, 32, 3), classes=4)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(np.sum(model(x), axis=-1), 1, rtol=1e-5)


def test_weights_come_from_a_file(tmp_path):
    model = st.FairNASC(input_shape=(32, 32, 3), classes=4)
    model.save_weights(tmp_path / "w.weights.h5")
    twin = st.FairNASC(input_shape=(32, 32, 3), classes=4, weights=str(tmp_path / "w.weights.h5"))
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(x), twin(x))


def test_a_zoo_model_saves_and_loads(tmp_path):
    model = st.ScarletB(input_shape=(32, 32, 3), classes=4)
    model.save(tmp_path / "b.keras")
    loaded = keras.models.load_model(tmp_path / "b.keras")
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(x), loaded(x))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"pooling": "mean"}, "pooling"),
        ({"weights": "imagenet"}, "weights"),
        ({"weights": __file__}, "weights: .*expected the .weights.h5 file"),
        ({"classes": 0}, "num_classes"),
        ({"input_shape": (16, 16, 3)}, "input_shape"),
        ({"input_shape": (64, 64, 3), "input_tensor": keras.Input((32, 32, 3))}, "input_shape"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        st.ScarletA(**arguments)
