"""Emulated phones' processors: what is said without the emulator, how answers are compared, and the real thing."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny import tiny_space

from compare_answers import compare

TOOLS = pathlib.Path(__file__).parents[2] / "tools"
SCRIPT = TOOLS / "check_aarch64.sh"


def answers(logits, quantization="none"):
    rows = [{"file": f"{i}.png", "class": int(np.argmax(row)), "logits": row} for i, row in enumerate(logits)]
    return {"model": "m.tflite", "quantization": quantization, "runtime": "r", "top1": 0.5, "images": rows}


def test_float_files_need_the_same_classes_and_nearly_the_same_logits():
    here = answers([[1.0, 2.0], [3.0, 0.0]])
    assert compare("a53", here, here)["ok"] and compare("a53", here, here)["images_with_identical_logits"] == 2
    near = compare("a53", here, answers([[1.0, 2.00001], [3.0, 0.0]]))
    assert near["ok"] and near["same_class"] == 2 and near["images_with_identical_logits"] == 1
    assert near["max_logit_difference"] == pytest.approx(1e-5)
    assert not compare("a53", here, answers([[1.0, 2.001], [3.0, 0.0]]))["ok"]
    assert not compare("a53", here, answers([[1.0, np.nan], [3.0, 0.0]]))["ok"]


def test_files_with_eight_bits_need_the_same_classes_alone():
    here, near = (answers([[1.0, last], [3.0, 0.0]], "int8") for last in (2.0, 2.1))
    assert compare("a53", here, near)["ok"]
    other = compare("a53", here, answers([[1.0, 0.9], [3.0, 0.0]], "int8"))
    assert not other["ok"] and other["same_class"] == 1


def test_answers_about_other_images_are_not_compared():
    here, other = answers([[1.0, 2.0]]), answers([[1.0, 2.0]])
    other["images"][0]["file"] = "another.png"
    with pytest.raises(ValueError, match="same images"):
        compare("a53", here, other)


def run(*arguments, **environment):
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_a_missing_program_is_named(tmp_path):
    for name in ("bash", "dirname", "sed"):
        (tmp_path / name).symlink_to(shutil.which(name))
    (tmp_path / "m.tflite").touch()
    done = run(tmp_path, tmp_path / "m.tflite", PATH=str(tmp_path))
    assert done.returncode == 2 and "install the package qemu-user-static" in done.stderr


def test_bad_arguments_are_refused(tmp_path):
    assert run().returncode == 2 and "tools/check_aarch64.sh held_out" in run().stderr
    assert run("--help").returncode == 0
    done = run(tmp_path / "none", "m.tflite")
    assert done.returncode == 2 and "expected a folder" in done.stderr
    done = run(tmp_path, tmp_path / "m.tflite")
    assert done.returncode == 2 and "m.tflite: expected a .tflite file" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("qemu-aarch64-static"), reason="qemu-user-static is not installed")
@pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed")
def test_emulated_cores_give_the_classes_that_this_machine_gives(tmp_path):
    """Downloads a Debian root unless $SCARLET_AARCH64_ROOT has one."""
    from scarlet_tf.data.datasets import DataConfig, load_dataset
    from scarlet_tf.export.tflite import export_tflite
    from scarlet_tf.models.network import build_network
    from write_held_out import write_images

    data = load_dataset(DataConfig(source="digits", image_size=8))
    write_images(data.test.take(20), data.class_names, tmp_path / "held_out")
    network = build_network(tiny_space().sample(np.random.default_rng(0)), num_classes=10, seed=1)
    about = {"labels": data.class_names, "preprocessing": data.preprocessing, "representative_data": data.train}
    files = [tmp_path / f"{name}.tflite" for name in ("none", "int8")]
    for file in files:
        export_tflite(network, file, file.stem, **about)
    done = run(tmp_path / "held_out", *files, PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["ok"] and [row["images"] for row in result["files"]] == [20] * 4
