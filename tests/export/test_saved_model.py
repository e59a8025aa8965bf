import importlib.util
import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.saved_model import FILE_NAME, export_saved_model
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.verification import verify
from scarlet_tf.models.network import build_network
from scarlet_tf.space.choices import Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "export"))
import classify

SIZE = 16
PREPROCESSING = Preprocessing(SIZE, 0.875, "imagenet")
LABELS = ["a", "b", "c", "d"]
WRITER = """
import sys
import test_saved_model as writer
from scarlet_tf.evaluation.graphs import quick_to_first_step
writer.make_model()
with quick_to_first_step():
    pass
writer.export_saved_model(writer.make_model(), sys.argv[1], writer.PREPROCESSING, writer.LABELS)
"""
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


def make_model():
    space = SearchSpace("tiny", (Stage(16, 2, 2),), SearchSpace.from_name("s2").choices, 8, 2, 8, 32, input_size=SIZE)
    return build_network(Architecture((1, 3), space), (SIZE, SIZE, 3), 4, seed=0)


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path, has_extra = (
        tmp_path_factory.mktemp("served") / "1",
        importlib.util.find_spec("tensorflow_serving") is not None,
    )
    return export_saved_model(model, path, PREPROCESSING, LABELS, warm_up=has_extra)


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


def test_two_processes_write_the_same_bytes(exported, tmp_path):
    """The other one has made a network before, which Keras and TensorFlow count in their names, and begun a training."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path / "1")],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    files = {path.relative_to(tmp_path / "1"): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {file.name for file in files} >= {"saved_model.pb", "variables.index", "metadata.json", "labels.txt"}
    for file, path in files.items():
        assert path.read_bytes() == (exported / file).read_bytes(), file


def test_a_session_answers_as_in_a_server(exported, model):
    """TensorFlow Serving runs the signatures of the stored graph itself, by the functions' stored names."""
    picture, v1 = tf.io.encode_png(np.full([20, 30, 3], 200, np.uint8)).numpy(), tf.compat.v1
    image = PREPROCESSING.decode_and_prepare(picture).numpy()[np.newaxis]
    expected = model(image, training=False).numpy()
    with v1.Session(graph=tf.Graph()) as session:
        signatures = v1.saved_model.load(session, ["serve"], str(exported)).signature_def
        for name, key, value in (("serving_default", "image", image), ("serving_bytes", "encoded", [picture])):
            source, target = signatures[name].inputs[key].name, signatures[name].outputs["logits"].name
            answer = session.run(target, {source: value})
            # The same operations in a graph; grappler may fuse some, which moves the last digits.
            np.testing.assert_allclose(answer, expected, atol=1e-5)


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

    monkeypatch.setattr("scarlet_tf.export.saved_model._write", fail)
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


def encode(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photograph(seed=0, height=23, width=31):
    pixels = np.random.default_rng(seed).integers(0, 256, [height, width, 3], dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def served(exported):
    """The loaded model and a call of each signature."""
    loaded = tf.saved_model.load(str(exported))

    def call(name, **inputs):
        return loaded.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})["logits"].numpy()

    return call


@pytest.mark.parametrize("count", [1, 3])
def test_bytes_images_and_the_network_give_the_same_logits(served, model, count):
    """One image or several of different sizes and formats; `prepare` gets the pixels that Pillow decodes."""
    sources = [photograph(i, 20 + 7 * i, 40) for i in range(count)]
    encoded = [encode(image, form) for image, form in zip(sources, ["PNG", "JPEG", "PNG"], strict=False)]
    decoded = [np.asarray(Image.open(io.BytesIO(content))) for content in encoded]
    images = np.stack([PREPROCESSING.prepare(pixels) for pixels in decoded])
    answer = served("serving_bytes", encoded=encoded)
    assert answer.shape == (count, 4)
    # The same operations in a graph; grappler may fuse some, which moves the last digits.
    np.testing.assert_allclose(answer, served("serving_default", image=images), atol=1e-5)
    np.testing.assert_allclose(answer, model(images, training=False), atol=1e-5)


def test_statistics_and_bicubic_resizing_go_into_all_files(model, tmp_path):
    """The SavedModel gives the network's logits of a JPEG file that classify.py prepares from the TFLite file's metadata."""
    given = {"mean": [110, 120, 130.5], "std": [5, 6, 7]}
    how = Preprocessing(SIZE, 0.875, given, resizing="bicubic")
    export_saved_model(model, tmp_path / "1", how, LABELS)
    export_tflite(model, tmp_path / "model.tflite", labels=LABELS, preprocessing=how)
    sidecars = [tmp_path / "1/assets.extra/metadata.json", tmp_path / "model.json"]
    for about in [read_json(path)["preprocessing"] for path in sidecars]:
        assert (about["mean"], about["std"]) == (given["mean"], given["std"])
        assert (about["normalization"], about["resize"]) == (None, "bicubic, antialiased")
    picture = encode(photograph(3, 50, 70), "JPEG", quality=95)
    embedded = classify.read_metadata((tmp_path / "model.tflite").read_bytes())["preprocessing"]
    image = classify.prepare(Image.open(io.BytesIO(picture)), embedded)[np.newaxis]
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    answer = loaded.signatures["serving_bytes"](encoded=tf.constant([picture]))["logits"]
    np.testing.assert_allclose(answer, model(image, training=False), atol=2e-5)
    other = model(Preprocessing(SIZE, 0.875, given).decode_and_prepare(picture)[tf.newaxis], training=False)
    assert np.abs(answer - other).max() > 2e-4


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_grey_and_transparent_images_are_served_as_rgb(served, mode):
    image = photograph().convert(mode)
    expected = served("serving_bytes", encoded=[encode(image.convert("RGB"), "PNG")])
    np.testing.assert_allclose(served("serving_bytes", encoded=[encode(image, "PNG")]), expected, atol=1e-5)


def test_sixteen_bits_are_cut_to_eight_and_cmyk_is_served(served):
    samples = np.random.default_rng(0).integers(0, 2**16, (20, 20, 3), np.uint16)
    expected = served("serving_bytes", encoded=[tf.io.encode_png((samples >> 8).astype(np.uint8)).numpy()])
    answer = served("serving_bytes", encoded=[tf.io.encode_png(samples).numpy()])
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert np.isfinite(served("serving_bytes", encoded=[encode(photograph().convert("CMYK"), "JPEG")])).all()


@pytest.mark.parametrize("icc", [b"", bytes(150_000)], ids=["plain", "with a long profile"])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_photographs_are_turned_upright(served, form, icc):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    turned = encode(photograph(), form, quality=95, exif=exif, icc_profile=icc)
    upright = encode(Image.open(io.BytesIO(turned)).transpose(Image.Transpose.ROTATE_270), "PNG", exif=b"")
    answer = served("serving_bytes", encoded=[turned])
    np.testing.assert_allclose(answer, served("serving_bytes", encoded=[upright]), atol=1e-5)


PNG, JPEG = encode(photograph(), "PNG"), encode(photograph(), "JPEG")
BAD_FILES = {
    "nothing": (b"", "expected JPEG or PNG files"),
    "text": (b"no image", "expected JPEG or PNG files"),
    "animation": (
        encode(photograph(), "GIF", save_all=True, append_images=[photograph(1)]),
        "expected JPEG or PNG files",
    ),
    "bitmap": (encode(photograph(), "BMP"), "expected JPEG or PNG files"),
    "webp": (encode(photograph(), "WEBP"), "expected JPEG or PNG files"),
    "half a PNG": (PNG[: len(PNG) // 2], "Invalid PNG data"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "Invalid JPEG data"),
    "a JPEG's beginning": (JPEG[:3], "Invalid JPEG data"),
    "a PNG's beginning": (PNG[:8], "Invalid PNG"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_what_cannot_be_decoded_is_an_invalid_argument(served, kind):
    content, message = BAD_FILES[kind]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served("serving_bytes", encoded=[content])


def test_one_bad_file_fails_its_batch_and_is_told_by_its_position(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at the positions.*\[1 3\]"):
        served("serving_bytes", encoded=[PNG, b"text", JPEG, b"GIF89a"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least one file"):
        served("serving_bytes", encoded=np.array([], "S1"))
    assert np.isfinite(served("serving_bytes", encoded=[PNG, JPEG])).all()


@pytest.mark.parametrize("content", [PNG, JPEG], ids=["PNG", "JPEG"])
def test_corrupt_bytes_are_answered_or_refused_but_never_crash(served, content):
    rng, refused = np.random.default_rng(0), 0
    for _ in range(60):
        torn = bytearray(content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.3 else content)
        for position in rng.integers(0, len(torn), rng.integers(1, 6)):
            torn[position] = rng.integers(0, 256)
        try:
            assert np.isfinite(served("serving_bytes", encoded=[bytes(torn)])).all()
        except tf.errors.InvalidArgumentError:
            refused += 1
    assert refused > 10


def test_warm_up_records_are_requests_that_the_signatures_answer(exported):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    loaded, batches = tf.saved_model.load(str(exported)), []
    for record in tf.data.TFRecordDataset(str(exported / "assets.extra" / FILE_NAME)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        signature = request.model_spec.signature_name
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        logits = loaded.signatures[signature](**inputs)["logits"].numpy()
        assert np.isfinite(logits).all() and logits.shape[1] == 4
        batches.append((signature, len(logits)))
    assert batches == [("serving_default", 1), ("serving_default", 8), ("serving_bytes", 1), ("serving_bytes", 8)]


def test_warm_up_without_its_package_is_refused_before_anything_is_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr("scarlet_tf.export.saved_model.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"warm_up: needs .* 'scarlet_tf\[serving\]'"):
        export_saved_model(model, tmp_path / "1", warm_up=True)
    assert list(tmp_path.iterdir()) == []
