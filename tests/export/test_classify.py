"""The stand-alone consumer of exported files."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny import tiny_space

from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.models.network import build_network

SCRIPT = pathlib.Path(__file__).parents[2] / "export" / "classify.py"
LABELS = ["ant", "bee", "cat", "dog", "elk"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    model = build_network(tiny_space().sample(np.random.default_rng(0)), num_classes=5, seed=1)
    export_tflite(model, folder / "model.tflite", labels=LABELS, preprocessing=Preprocessing(8, crop_fraction=0.875))
    return folder, model


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def test_it_answers_what_the_keras_network_answers(exported, rng):
    folder, model = exported
    for number in range(3):
        # Eight pixels are left of nine, so nothing is resized and both ways see the very same pixels.
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(folder / f"{number}.png")
    done = run(folder / "model.tflite", *(folder / f"{number}.png" for number in range(3)))
    assert done.returncode == 0, done.stderr
    for number, line in enumerate(done.stdout.splitlines()):
        pixels = Preprocessing(8, crop_fraction=0.875).decode_and_prepare((folder / f"{number}.png").read_bytes())
        probabilities = np.asarray(tf.nn.softmax(model(pixels[None])))[0]
        _, label, probability = line.split("\t")
        assert label == LABELS[probabilities.argmax()]
        assert float(probability) == pytest.approx(probabilities.max(), abs=2e-3)


def test_bad_input_is_named(exported, tmp_path):
    assert run().returncode == 2
    for file in ("none.tflite", "model.tflite"):
        done = run(exported[0] / file, tmp_path / "none.png")
        assert done.returncode == 2 and "No such file" in done.stderr and "Traceback" not in done.stderr
    torn = tmp_path / "torn.jpg"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(torn)
    torn.write_bytes(torn.read_bytes()[:-20])
    done = run(exported[0] / "model.tflite", torn)
    assert done.returncode == 2 and f"classify: {torn}: " in done.stderr
