import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.errors import InputError
from scarlet_tf.export.saved_model import export_saved_model
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.verification import verify
from scarlet_tf.files import read_json
from scarlet_tf.models.network import build_network
from scarlet_tf.space import Architecture, SearchSpace, Stage

SIZE = 16
PREPROCESSING = Preprocessing(SIZE, 0.875, "imagenet")
READER = """
import importlib.abc, importlib.machinery, json, sys
import numpy as np

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "tf_keras", "scarlet_tf"):
            return importlib.machinery.ModuleSpec(name, self, origin="blocked")

    def create_module(self, spec):
        raise ModuleNotFoundError(spec.name + " is blocked")

sys.meta_path.insert(0, Blocker())
import tensorflow as tf
folder = sys.argv[1]
loaded = tf.saved_model.load(folder + "/1")
images = tf.constant(np.load(folder + "/images.npy"))
encoded = tf.constant([open(folder + f"/{i}.png", "rb").read() for i in range(3)])
print(json.dumps({
    "images": loaded.signatures["serving_default"](image=images)["logits"].numpy().tolist(),
    "bytes": loaded.signatures["serving_bytes"](encoded=encoded)["logits"].numpy().tolist(),
    "blocked": not any(name in sys.modules for name in ("keras", "scarlet_tf")),
}))
"""


@pytest.fixture(scope="module")
def model():
    space = SearchSpace("tiny", (Stage(16, 2, 2),), SearchSpace.from_name("s2").choices, 8, 2, 8, 32, input_size=SIZE)
    return build_network(Architecture((1, 3), space), (SIZE, SIZE, 3), 4, seed=0)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_saved_model(model, tmp_path_factory.mktemp("served") / "1", PREPROCESSING, ["a", "b", "c", "d"])


def test_it_runs_without_keras_and_without_this_package(exported, model):
    folder, rng = exported.parent, np.random.default_rng(0)
    photographs = [rng.integers(0, 256, [20 + i, 30, 3], dtype=np.uint8) for i in range(3)]
    for i, photograph in enumerate(photographs):
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(photograph).numpy())
    images = np.stack([PREPROCESSING.prepare(photograph) for photograph in photographs])
    np.save(folder / "images.npy", images)
    done = subprocess.run([sys.executable, "-c", READER, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer, expected = json.loads(done.stdout), model(images, training=False)
    assert answer["blocked"]
    # The same operations in a graph; grappler may fuse some, which moves the last digits.
    np.testing.assert_allclose(answer["images"], expected, atol=1e-5)
    np.testing.assert_allclose(answer["bytes"], expected, atol=1e-5)


def test_verify_compares_any_number_of_images(exported, model):
    images = np.random.default_rng(1).uniform(-1, 1, [70, SIZE, SIZE, 3]).astype(np.float32)
    result = verify(exported, model, (images, np.zeros(70, int)))
    assert result["format"] == "saved_model" and result["num_images"] == 70
    assert result["max_logit_difference"] <= 1e-5 and result["top1_delta"] == 0
    assert result["inputs"] == [{"name": "image", "shape": [None, SIZE, SIZE, 3], "dtype": "float32"}]


def test_metadata_and_labels_lie_in_extra_assets(exported):
    metadata = read_json(exported / "assets.extra" / "metadata.json")
    assert metadata["labels"] == ["a", "b", "c", "d"] and metadata["preprocessing"]["normalization"] == "imagenet"
    assert (exported / "assets.extra" / "labels.txt").read_text() == "a\nb\nc\nd\n"


def test_an_older_export_is_replaced_and_a_failed_one_leaves_it(model, tmp_path, monkeypatch, capfd):
    def fail(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "1"
    path.mkdir()
    (path / "old").touch()
    with monkeypatch.context() as patch, pytest.raises(InputError, match="could not be written: No space left"):
        patch.setattr("scarlet_tf.export.saved_model.write_json", fail)
        export_saved_model(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ["1"] and (path / "old").exists()
    export_saved_model(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ["1"] and not (path / "old").exists()
    assert capfd.readouterr() == ("", "")
    assert list(tf.saved_model.load(str(path)).signatures) == ["serving_default"]


def test_disk_that_fills_up_in_tensorflow_is_bad_input_too(model, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device\nin C++")

    monkeypatch.setattr("scarlet_tf.export.saved_model._archive", fail)
    with pytest.raises(InputError, match=r"1: could not be written: No space left on device$"):
        export_saved_model(model, tmp_path / "1")
    monkeypatch.setattr("scarlet_tf.export.tflite._write_graph", fail)
    with pytest.raises(InputError, match=r"m\.tflite: could not be converted, .* No space left on device"):
        export_tflite(model, tmp_path / "m.tflite")
    assert list(tmp_path.iterdir()) == []


def test_torn_exports_are_refused(tmp_path, model):
    with pytest.raises(InputError, match=r"saved_model\.pb"):
        verify(tmp_path, model, [])
    (tmp_path / "saved_model.pb").write_bytes(b"torn")
    with pytest.raises(InputError, match="torn"):
        verify(tmp_path, model, [])
