"""The page's JavaScript modules under Node: their own tests, and both readings of one file and of one image."""

import json
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.tflite import describe_tflite

PAGE = pathlib.Path(__file__).parents[2] / "export" / "browser"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

_PREPARE = """
import {readFileSync, writeFileSync} from "node:fs";
import {fitSquare, normalize} from "./src/preprocessing.js";
for (const {file, width, height, how} of JSON.parse(readFileSync(0, "utf8"))) {
  const pixels = readFileSync(file);
  const readRows = (left, top, columns, rows) => Buffer.concat(Array.from({length: rows}, (_, row) => {
    const start = 4 * ((top + row) * width + left);
    return pixels.subarray(start, start + 4 * columns);
  }));
  writeFileSync(file, normalize(fitSquare({width, height, readRows}, how.image_size, how.crop_fraction, how.resize), how));
}
"""

_READ = """
import {readFileSync} from "node:fs";
import {readModelFile} from "./src/metadata.js";
const bytes = readFileSync(process.argv[1]);
console.log(JSON.stringify(readModelFile(bytes)));
const messages = [];
for (let length = 0; length < bytes.length; length += 97) {
  try {
    readModelFile(bytes.subarray(0, length));
  } catch (error) {
    messages.push(`${error.constructor.name}: ${error.message}`);
  }
}
console.log(JSON.stringify(messages));
"""


def node(*arguments, stdin=None):
    done = subprocess.run(["node", *arguments], cwd=PAGE, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_modules_pass_their_own_tests():
    assert "fail 0" in node("--test")


def test_images_are_prepared_as_in_python(rng, tmp_path):
    cases = [  # height, width, size, fraction: smaller, larger, equal, odd, beyond 256 rows, one pixel
        (300, 401, 32, 0.875),
        (10, 12, 24, 1.0),
        (16, 16, 16, 1.0),
        (37, 23, 8, 0.3),
        (700, 520, 224, 0.875),
        (1, 5, 4, 0.1),
    ]
    requests, expected = [], []
    for index, (height, width, size, fraction) in enumerate(cases + cases[3:] + cases[:3]):
        pixels = rng.integers(0, 256, [height, width, 3], np.uint8)
        normalization = ("inception", "imagenet", {"mean": [1, 2, 3], "std": [40, 50, 60]})[index % 3]
        resizing = ("bilinear", "bicubic")[index // 3 % 2]
        preprocessing = Preprocessing(size, fraction, normalization, resizing=resizing)
        expected.append(preprocessing.prepare(pixels).numpy())
        file = tmp_path / f"{index}.raw"
        file.write_bytes(np.dstack([pixels, np.full([height, width], 255, np.uint8)]).tobytes())
        how = {**preprocessing.to_dict(), "mean": preprocessing.mean, "std": preprocessing.std}
        how["resize"] = f"{resizing}, antialiased"
        requests.append({"file": str(file), "width": width, "height": height, "how": how})
    node("--input-type=module", "-e", _PREPARE, stdin=json.dumps(requests))
    for request, wanted in zip(requests, expected, strict=True):
        got = np.fromfile(request["file"], np.float32).reshape(wanted.shape)
        # TensorFlow finds positions and weights in float32, the page in float64.
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_a_file_is_described_as_in_python(float_file):
    described, _ = map(json.loads, node("--input-type=module", "-e", _READ, str(float_file)).splitlines())
    expected = describe_tflite(float_file)
    assert described == {key: expected[key] for key in ("inputs", "outputs", "metadata")} | {
        "inputs": [_with_type(end) for end in expected["inputs"]],
        "outputs": [_with_type(end) for end in expected["outputs"]],
    }


def test_torn_files_are_noticed_before_the_runtime_gets_them(float_file):
    _, messages = map(json.loads, node("--input-type=module", "-e", _READ, str(float_file)).splitlines())
    lengths = range(0, float_file.stat().st_size, 97)
    # At the very end are names and operations, which only the runtime reads.
    assert len(messages) >= len(lengths) - 5
    assert {message.split(":")[0] for message in messages} == {"InputError"}


def _with_type(end):
    return {"name": end["name"], "shape": end["shape"], "type": end["dtype"]}
