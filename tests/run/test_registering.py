"""A network on its way from a run folder into one's own zoo, and out of it as a model."""

import shutil

import keras
import numpy as np
import pytest
from test_pipeline import FRONT, config, network_result

import scarlet_tf as st
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import write_json
from scarlet_tf.config import claim_run_dir
from scarlet_tf.models.network import build_network, get_arrays
from scarlet_tf.models.zoo_data import find_own
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.network import save_model

CLASSES = [f"class {i}" for i in range(10)]


@pytest.fixture(autouse=True)
def zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path / "zoo"))


@pytest.fixture
def searched(tmp_path):
    """A run folder whose search is done."""
    folder = tmp_path / "run"
    claim_run_dir(folder, config())
    write_json(folder / "dataset.json", {"name": "fake", "classes": CLASSES, "examples": {}, "fingerprint": "abc"})
    write_json(folder / "pareto.json", FRONT)
    return folder


@pytest.fixture
def retrained(searched):
    """(the folder with a retrained network in it, that network)."""
    architecture = Architecture((6, 1, 0), config().space)
    network = build_network(architecture, (8, 8, 3), 10, seed=0)
    save_model(network, searched / "retrain" / "model.keras")
    network_result(architecture.choices).write(searched, architecture.space)
    return searched, network


def test_a_retrained_network_is_built_by_name_with_its_weights(retrained, rng):
    folder, network = retrained
    entry = st.register_network("my_net", folder)
    shutil.rmtree(folder)
    assert (entry.origin["top1"], entry.origin["test_examples"], entry.origin["labels"]) == (87.5, 359, CLASSES)
    assert entry.origin["architecture"] == "6,1,0"
    images = {"image_size": 8, "crop_fraction": 1.0, "normalization": "inception", "resizing": "bilinear"}
    assert entry.origin["preprocessing"] == images

    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    model = st.applications.build_zoo_network("my_net", weights="run", classifier_activation=None)
    assert model.name == "my_net"
    np.testing.assert_array_equal(model(x), network(x))
    np.testing.assert_allclose(
        st.applications.build_zoo_network("my_net", weights="run")(x),
        keras.ops.softmax(network(x)),
        rtol=1e-5,
        atol=1e-7,
    )
    random = st.applications.build_zoo_network("my_net", classes=3)
    assert random.output_shape == (None, 3)

    features = st.applications.build_zoo_network("my_net", False, "run", input_shape=(20, 12, 3), pooling="avg")
    arrays = get_arrays(network)
    assert all(np.array_equal(arrays[key], value) for key, value in get_arrays(features).items())
    with pytest.raises(InputError, match=r"classes: expected 10, those of .*my_net.keras, or include_top=False, got 3"):
        st.applications.build_zoo_network("my_net", weights="run", classes=3)


def test_without_retraining_the_best_pick_is_added_as_searched(searched):
    entry = st.register_network("best", searched)
    architecture = Architecture((0, 6, 3), config().space)
    assert entry.spec == architecture.lower((8, 8, 3), 10, dropout=config().retrain.dropout)
    assert (entry.has_weights, entry.origin["top1"], entry.origin["one_shot_accuracy"]) == (False, None, 75.0)
    assert st.applications.build_zoo_network("best").output_shape == (None, 10)
    with pytest.raises(InputError, match="weights: expected None or a file, best was added without weights"):
        st.applications.build_zoo_network("best", weights="run")


def test_a_pick_by_name_is_added_without_weights_beside_a_retrained_network(retrained):
    entry = st.register_network("small", retrained[0], pick="0")
    assert (entry.origin["architecture"], entry.has_weights) == ("6,6,0", False)
    with pytest.raises(InputError, match="expected best or one of the search's picks, 0, 1, got 'large'"):
        st.register_network("large", retrained[0], pick="large")


def test_a_folder_without_a_network_adds_nothing(searched, tmp_path):
    with pytest.raises(InputError, match=r"nowhere: expected a run folder with config.yaml"):
        st.register_network("my_net", tmp_path / "nowhere")
    (searched / "pareto.json").unlink()
    with pytest.raises(InputError, match=r"run: expected a run that was searched, with pareto\.json"):
        st.register_network("my_net", searched)
    assert find_own("my_net") is None


def test_a_torn_model_file_adds_nothing(retrained):
    (retrained[0] / "retrain" / "model.keras").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"model\.keras: missing or torn"):
        st.register_network("my_net", retrained[0])
    assert find_own("my_net") is None
