"""The stand-alone consumer of exported files, against the package's own evaluation path."""

import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from scarlet_tf.base.files import read_json
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.verification import verify
from write_files import CONTRACT, make_cases
from write_held_out import write_images

EXPORT = pathlib.Path(__file__).parents[2] / "export"
sys.path.insert(0, str(EXPORT))
import classify  # noqa: E402

# Both compute in float32, in different orders; the greatest difference seen is 1.3e-4 of 255.
PIXEL_TOLERANCE = 1e-3
HELD_OUT = 150


def run(*arguments):
    """classify.py as a user has it: without this package on the path, and in another folder."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, EXPORT / "classify.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")


@pytest.fixture(scope="module")
def held_out(digits):
    return digits.test.take(HELD_OUT)


@pytest.fixture(scope="module")
def folder(digits, held_out, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "held_out"
    assert write_images(held_out, digits.class_names, folder) == HELD_OUT
    return folder


@pytest.fixture(scope="module")
def exported(digits, network, tmp_path_factory):
    """{variant: file}; the JSON files beside them are removed, for nothing may read them."""
    folder, about = tmp_path_factory.mktemp("exported"), {"labels": digits.class_names}
    about |= {"preprocessing": digits.preprocessing, "representative_data": digits.train}
    files = {}
    for variant, options in {"float32": ("none", True), "int8": ("int8", True), "int8_ends": ("int8", False)}.items():
        files[variant] = folder / f"{variant}.tflite"
        export_tflite(network, files[variant], options[0], float_ends=options[1], **about)
        files[variant].with_suffix(".json").unlink()
    (folder / "labels.txt").unlink()
    return files


@pytest.mark.parametrize("variant", ["float32", "int8", "int8_ends"])
def test_held_out_images_get_the_top1_that_verification_states(variant, exported, folder, network, held_out):
    done = run(exported[variant], "--evaluate", folder, "--json")
    assert done.returncode == 0, done.stderr
    answer, stated = json.loads(done.stdout), verify(exported[variant], network, held_out)
    assert answer["num_images"] == stated["num_images"] == HELD_OUT
    # With int8 input a pixel that lies between two steps may be rounded either way by the last bit of float32.
    tolerance = 2 / HELD_OUT if variant == "int8_ends" else 0
    assert abs(answer["top1"] - stated["top1"]) <= tolerance and 0.8 < stated["top1"] < 1
    ends = Interpreter(str(exported[variant])).get_input_details()[0]["dtype"]
    assert ends is (np.int8 if variant == "int8_ends" else np.float32)


def test_logits_are_those_of_the_network(exported, folder, network, held_out):
    """Image by image: the numbers in the file names are the split's order."""
    answer = json.loads(run(exported["float32"], "--evaluate", folder, "--json").stdout)
    rows = sorted(answer["images"], key=lambda row: pathlib.Path(row["file"]).name)
    images, labels = next(held_out.batches(HELD_OUT).as_numpy_iterator())
    assert [row["expected"] for row in rows] == labels.tolist()
    np.testing.assert_allclose([row["logits"] for row in rows], network.predict(images, verbose=0), atol=1e-3)


def test_single_images_are_told_one_a_line(exported, folder, network, digits):
    files = sorted(folder.glob("7/*.png"))[:3]
    done = run(exported["float32"], *files)
    assert done.returncode == 0, done.stderr
    for file, line in zip(files, done.stdout.splitlines(), strict=True):
        pixels = digits.preprocessing.decode_and_prepare(file.read_bytes())
        probabilities = np.asarray(tf.nn.softmax(network(pixels[None])))[0]
        name, label, probability = line.split("\t")
        assert name == str(file) and label == digits.class_names[probabilities.argmax()]
        assert float(probability) == pytest.approx(probabilities.max(), abs=2e-3)


def encode(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photograph(height, width, seed=0):
    """Smooth areas, edges and noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = rng.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


def both_ways(content, how):
    """(by classify.py, by the package), in units of 0..255."""
    about = {"image_size": how.image_size, "crop_fraction": how.crop_fraction, "mean": how.mean, "std": how.std}
    about["resize"] = f"{how.resizing}, antialiased"
    ours = classify.prepare(Image.open(io.BytesIO(content)), about)
    assert ours.shape == (how.image_size, how.image_size, 3) and ours.dtype == np.float32
    return np.float64(ours) * how.std, np.float64(how.decode_and_prepare(content)) * how.std


@pytest.mark.parametrize("height, width", [(1, 1), (3, 400), (33, 33), (64, 64), (223, 225), (480, 641), (1003, 57)])
@pytest.mark.parametrize("size, fraction", [(7, 0.9), (64, 1.0), (224, 0.875)])
@pytest.mark.parametrize("resizing", ["bilinear", "bicubic"])
def test_pixels_are_those_of_evaluation_at_any_size(height, width, size, fraction, resizing):
    content = encode(photograph(height, width), "PNG")
    ours, theirs = both_ways(content, Preprocessing(size, fraction, "imagenet", resizing=resizing))
    np.testing.assert_allclose(ours, theirs, atol=PIXEL_TOLERANCE)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_other_colours_become_rgb_as_in_evaluation(mode):
    image = photograph(40, 50)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 50), np.uint8)))
    ours, theirs = both_ways(encode(image.convert(mode), "PNG"), Preprocessing(16, 0.875, "unit"))
    np.testing.assert_allclose(ours, theirs, atol=PIXEL_TOLERANCE)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_cut_to_eight(channels):
    samples = np.random.default_rng(0).integers(0, 2**16, (20, 20, channels), np.uint16)
    ours, theirs = both_ways(tf.io.encode_png(samples).numpy(), Preprocessing(16, 1.0, "unit"))
    np.testing.assert_allclose(ours, theirs, atol=PIXEL_TOLERANCE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_in_evaluation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(photograph(50, 80), "JPEG", quality=90, exif=exif)
    ours, theirs = both_ways(content, Preprocessing(24, 0.875, "unit"))
    np.testing.assert_allclose(ours, theirs, atol=PIXEL_TOLERANCE)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [50, 95])
def test_jpeg_files_are_decoded_alike(quality, subsampling):
    content = encode(photograph(301, 420), "JPEG", quality=quality, subsampling=subsampling)
    ours, theirs = both_ways(content, Preprocessing(64, 0.875, "unit"))
    np.testing.assert_allclose(ours, theirs, atol=PIXEL_TOLERANCE)


def test_the_contract_cases_are_those_of_today_and_classify_meets_them():
    cases = read_json(CONTRACT)
    assert [{**case, "values": None} for case in cases] == [{**case, "values": None} for case in make_cases()]
    for case, today in zip(cases, make_cases(), strict=True):
        # The file's values are rounded to six digits; other processors round float32 differently.
        np.testing.assert_allclose(case["values"], today["values"], atol=1e-5)
        pixels = np.array(case["pixels"], np.uint8).reshape(case["height"], case["width"], 3)
        values = classify.prepare(Image.fromarray(pixels), case["preprocessing"])
        np.testing.assert_allclose(values.ravel(), case["values"], atol=1e-5, err_msg=case["name"])


def test_filter_weights_are_those_worked_out_by_hand():
    """Four pixels to two: the triangle is four pixels wide, so the border lacks one half-weighted pixel."""
    np.testing.assert_allclose(classify.filter_weights(4, 2), np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7, rtol=1e-6)
    np.testing.assert_allclose(classify.filter_weights(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(classify.filter_weights(3, 3), np.eye(3))
    # Doubled: the kernel's values at 0.25, 0.75, 1.25, 1.75 pixels are 111, 29, -9 and -3 of 128; the border lacks some.
    np.testing.assert_allclose(classify.filter_weights(4, 8, 2)[3], np.array([-9, 111, 29, -3]) / 128, rtol=1e-5)
    np.testing.assert_allclose(classify.filter_weights(4, 8, 2)[0], np.array([111, -9, 0, 0]) / 102, atol=1e-6)
    np.testing.assert_array_equal(classify.filter_weights(5, 5, 2), np.eye(5))


def test_bad_input_is_named(exported, folder, tmp_path):
    model = exported["float32"]
    assert run().returncode == run(model).returncode == 2
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(encode(photograph(64, 64), "JPEG")[:-200])
    text = tmp_path / "text.tflite"
    text.write_text("no network at all")
    (tmp_path / "classes" / "unknown").mkdir(parents=True)
    for arguments, message in (
        ((tmp_path / "none.tflite", torn), "No such file"),
        ((text, torn), "expected a .tflite file"),
        ((model, tmp_path / "none.png"), "none.png: No such file"),
        ((model, torn), f"{torn}: "),
        ((model, text), f"{text}: cannot identify"),
        ((model, "--evaluate", tmp_path / "classes"), "unknown: expected a folder named like one of the labels"),
    ):
        done = run(*arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "classify: " in done.stderr and message in done.stderr


def test_a_file_without_metadata_is_refused(network, tmp_path):
    export_tflite(network, tmp_path / "bare.tflite")
    done = run(tmp_path / "bare.tflite", tmp_path / "a.png")
    assert done.returncode == 2 and "do not say how images are prepared" in done.stderr


def refusal(capsys, model, image):
    """The one line that classify.py says instead of an answer."""
    capsys.readouterr()
    assert classify.main([str(model), str(image)]) == 2
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert out == "" and line.startswith("classify: ")
    return line


def test_a_torn_model_is_one_line(exported, folder, tmp_path, capsys):
    content, torn = exported["float32"].read_bytes(), tmp_path / "torn.tflite"
    image = next(folder.glob("*/*.png"))
    for size in (8, 9, 100, len(content) // 2, content.rindex(b"PK\x03\x04") - 200, len(content) - 1):
        torn.write_bytes(content[:size])
        assert "torn.tflite: torn" in refusal(capsys, torn, image)


@pytest.mark.parametrize(
    "sound, torn, message",
    [
        ('{"metadata_version": 1', '["metadata_version": 1', "metadata are torn: Expecting"),
        ('"metadata_version": 1', '"metadata_version": 9', "expected metadata named scarlet_tf of version 1"),
        ('"labels"', '"babels"', "metadata are torn: labels"),
        ('"labels": ["0", ', '"labels": [000, ', "metadata are torn: Expecting"),
        ('"labels": ["0", "1"', '"labels": [7  , "1"', "metadata are torn: labels"),
        ('"labels": ["0", "1"', '"labels": ["0" ,1  ', "metadata are torn: labels"),
        ('"output"', '"ouptut"', "metadata are torn: output"),
        ('"preprocessing"', '"preproccesing"', "metadata are torn: image_size"),
        ('"image_size": 16', '"image_size": 61', "metadata are torn: image_size"),
        ('"crop_fraction": 0.875', '"crop_fraction": "875"', "metadata are torn: crop_fraction"),
        ('"mean": [', '"mean": {', "metadata are torn: Expecting"),
        ('"std": [127.5', '"std": [-27.5', "metadata are torn: std"),
        ('"mean": [127.5', '"mean": [1e999', "metadata are torn: mean"),
    ],
)
def test_torn_metadata_are_one_line(exported, folder, tmp_path, capsys, sound, torn, message):
    content, file = exported["float32"].read_bytes(), tmp_path / "torn.tflite"
    assert len(sound) == len(torn) and content.count(sound.encode()) == 1
    file.write_bytes(content.replace(sound.encode(), torn.encode()))
    assert message in refusal(capsys, file, next(folder.glob("*/*.png")))


def test_a_torn_or_oversized_image_is_one_line(exported, tmp_path, capsys, monkeypatch):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    def refuse(content):
        file.write_bytes(content)
        return refusal(capsys, model, file)

    model, file = exported["float32"], tmp_path / "image.png"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    claims = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert "image.png: Image size (3600000000 pixels) exceeds limit" in refuse(claims)
    rng = np.random.default_rng(0)
    for content in (encode(photograph(40, 40), "PNG"), encode(photograph(40, 40), "JPEG")):
        for size in (0, 1, 8, 30, len(content) // 2):
            assert "image.png: " in refuse(content[:size])
        for _ in range(40):  # one line, or an answer
            changed = bytearray(content)
            for position in rng.integers(0, len(content), 4):
                changed[position] = rng.integers(0, 256)
            file.write_bytes(changed)
            assert classify.main([str(model), str(file)]) in (0, 2)
            assert len("".join(capsys.readouterr()).splitlines()) == 1
    # Pillow warns above its limit and refuses above twice that; what it takes is answered without a word.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    file.write_bytes(encode(photograph(40, 40), "PNG"))
    assert classify.main([str(model), str(file)]) == 0 and capsys.readouterr().err == ""
    assert "exceeds limit of 2000 pixels" in refuse(encode(photograph(50, 50), "PNG"))
