"""Parents by names, run folders and files of this package's own networks."""

import numpy as np
import pytest
from tiny import randomised, tiny_space

import scarlet_tf as st
from scarlet_tf.base.errors import InputError
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.network import get_arrays, set_arrays
from scarlet_tf.models.zoo_data import add_own

CONFIG = "data: {source: digits, image_size: 8, crop_fraction: 0.5, normalization: unit}\n"


@pytest.fixture
def network(rng):
    network = st.build_network(st.Architecture((0, 3, 1, 2), tiny_space()), num_classes=5)
    set_arrays(network, randomised(get_arrays(network), rng))
    return network


@pytest.fixture
def run(network, tmp_path):
    folder = tmp_path / "my_run"
    (folder / "retrain").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    network.save(folder / "retrain" / "model.keras")
    return folder


@pytest.mark.parametrize("part", ["", "retrain/model.keras"])
def test_a_runs_network_is_a_parent_with_its_images(run, network, rng, part):
    found = st.parent(run / part)
    images = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(found.network()(images), network(images))
    assert (found.name, found.spec) == ("my_run", network.spec)
    assert found.preprocessing == Preprocessing(8, 0.5, "unit")


def test_a_network_in_no_run_needs_the_preparation_of_its_images(network, tmp_path):
    network.save(tmp_path / "mine.keras")
    with pytest.raises(InputError, match=r"mine\.keras: expected preprocessing"):
        st.parent(tmp_path / "mine.keras")
    images = Preprocessing(8, normalization="imagenet")
    found = st.Parent.from_file(tmp_path / "mine.keras", preprocessing=images)
    assert (found.name, found.preprocessing) == ("mine", images)


def test_a_registered_network_is_a_parent(network, tmp_path, monkeypatch):
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path / "zoo"))
    network.save(tmp_path / "w.keras")
    images = {"image_size": 8, "crop_fraction": 0.5, "normalization": "imagenet"}
    add_own("my_net", network.spec, {"run": "runs/my", "preprocessing": images}, tmp_path / "w.keras")
    add_own("bare", network.spec, {"run": "runs/my", "preprocessing": images})
    found = st.parent("my_net")
    assert found.preprocessing == Preprocessing(8, 0.5, "imagenet")
    assert all(np.array_equal(found.arrays[name], array) for name, array in get_arrays(network).items())
    with pytest.raises(InputError, match="expected a network with weights; bare was added without"):
        st.parent("bare")


@pytest.mark.parametrize(
    "name, message",
    [
        ("lite7", r"expected one of lite0, lite1, lite2.*got 'lite7'; did you mean lite"),
        ("scarlet_a", "scarlet_a is published without weights; expected one of lite0"),
        ("missing.pth", r"missing\.pth: expected a file of weights, found none"),
        ("missing.keras", r"missing\.keras: expected a Keras model, found no file"),
        ("w.tflite", r"expected one of .*\.safetensors.*got 'w\.tflite'"),
        (".", "expected a run folder with retrain/model.keras"),
    ],
)
def test_what_is_no_parent_is_named(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path / "zoo"))
    with pytest.raises(InputError, match=message):
        st.parent(name)


def test_only_a_checkpoint_has_a_published_networks_name(run):
    with pytest.raises(InputError, match=r"model: expected none with .*my_run"):
        st.Parent.from_file(run, model="mobilenetv2_100")


def test_a_foreign_keras_model_is_read_as_one(tmp_path):
    (tmp_path / "torn.keras").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"torn\.keras: expected a whole Keras model"):
        st.parent(tmp_path / "torn.keras")
