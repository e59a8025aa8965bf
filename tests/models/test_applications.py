"""preprocess_input and decode_predictions beside those of keras.applications."""

import json

import keras
import numpy as np
import pytest

import scarlet_tf as st
from scarlet_tf.base.errors import InputError

SCORES = np.array([[0.1, 0.6, 0.0, 0.3], [0.25, 0.25, 0.4, 0.1]], np.float32)
NAMES = ["tench", "goldfish", "great white shark", "tiger shark"]
INDEX = {str(i): [f"n0144076{i}", name] for i, name in enumerate(NAMES)}


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (2, 5, 4, 3))


@pytest.mark.parametrize("mode", ["tf", "torch"])
def test_arrays_are_scaled_as_by_keras(mode, pixels):
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), "channels_last", mode)
    found = st.applications.preprocess_input(pixels, mode=mode)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=3e-6)  # float32 of values up to 2.6
    np.testing.assert_allclose(st.applications.preprocess_input(pixels[0], "channels_last", mode), found[0])


def test_pixels_become_minus_1_to_1_and_the_input_stays_as_it_is():
    black_and_white = np.zeros((1, 2, 3))
    black_and_white[:, 1] = 255
    np.testing.assert_array_equal(st.applications.preprocess_input(black_and_white), [[[-1] * 3, [1] * 3]])
    assert black_and_white.max() == 255
    assert st.applications.preprocess_input(black_and_white.astype(np.float16)).dtype == np.float16


def test_tensors_stay_tensors_symbolic_ones_too(pixels):
    expected = st.applications.preprocess_input(pixels)
    for dtype in ("uint8", "float32"):
        found = st.applications.preprocess_input(keras.ops.convert_to_tensor(pixels, dtype))
        assert keras.ops.is_tensor(found)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    image = keras.Input((5, 4, 3), dtype="uint8")
    np.testing.assert_allclose(keras.Model(image, st.applications.preprocess_input(image))(pixels), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((2, 2, 3)), "data_format": "channels_first"}, "data_format: expected 'channels_last', got"),
        ({"x": np.zeros((2, 2, 3)), "mode": "caffe"}, r"mode: expected one of \['tf', 'torch'\], got 'caffe'"),
        ({"x": np.zeros((3, 2, 2))}, r"x: expected images \[..., H, W, 3\], got ndarray of shape \[3, 2, 2\]"),
        ({"x": "image.png"}, "x: expected images .*, got str"),
    ],
)
def test_bad_images_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        st.applications.preprocess_input(**arguments)


def test_predictions_are_those_of_keras(tmp_path, monkeypatch):
    path = tmp_path / "index.json"
    path.write_text(json.dumps(INDEX))
    found = st.applications.decode_predictions(SCORES, top=2, labels=path)
    assert found == [
        [("n01440761", "goldfish", pytest.approx(0.6)), ("n01440763", "tiger shark", pytest.approx(0.3))],
        [("n01440762", "great white shark", pytest.approx(0.4)), ("n01440760", "tench", pytest.approx(0.25))],
    ]


def test_labels_are_a_sequence_or_a_file(tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(NAMES) + "\n")
    (tmp_path / "labels.json").write_text(json.dumps(NAMES))
    expected = [("1", "goldfish", pytest.approx(0.6))]
    for labels in (NAMES, tuple(NAMES), tmp_path / "labels.txt", str(tmp_path / "labels.json")):
        assert (
            st.applications.decode_predictions(keras.ops.convert_to_tensor(SCORES), top=1, labels=labels)[0] == expected
        )


def test_top_is_five_and_at_most_the_number_of_classes():
    assert [len(row) for row in st.applications.decode_predictions(SCORES, labels=NAMES)] == [4, 4]
    assert len(st.applications.decode_predictions(np.eye(9), labels=range(9))[3]) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preds": SCORES[0], "labels": NAMES}, r"preds: expected shape \[B, classes\], got \[4\]"),
        ({"preds": SCORES, "labels": NAMES[:3]}, "labels: expected 4, one a class of preds, got 3"),
        ({"preds": SCORES, "labels": NAMES, "top": 0}, "top: expected an integer >= 1, got 0"),
        ({"preds": SCORES, "labels": None}, "labels: expected a sequence or the path of a file, got NoneType"),
        ({"preds": SCORES, "labels": "missing.txt"}, "missing.txt: expected a text file with one label a line"),
        ({"preds": SCORES, "labels": "missing.json"}, "missing.json: could not be read"),
    ],
)
def test_bad_predictions_and_labels_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        st.applications.decode_predictions(**arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {**{k: v for k, v in INDEX.items() if k != "2"}, "7": INDEX["2"]},
            "expected the keys 0 to 3, got none of '2'",
        ),
        ({**INDEX, "1": "goldfish"}, r"1: expected \[class id, label\], got 'goldfish'"),
        (7, "expected a sequence or the path of a file, got int"),
    ],
)
def test_a_bad_class_index_is_named(content, message, tmp_path):
    path = tmp_path / "index.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        st.applications.decode_predictions(SCORES, labels=path)
