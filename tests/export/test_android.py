"""The Android sample: what can be checked without Android. Its preprocessing and file reader are plain Kotlin."""

import os
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.tflite import export_tflite

ANDROID = pathlib.Path(__file__).parents[2] / "export" / "android"
MAIN, TESTS = ANDROID / "app/src/main", ANDROID / "app/src/test/java/scarlet/classifier"
SOURCES = MAIN / "java/scarlet/classifier"
PLAIN = [SOURCES / f"{name}.kt" for name in ("Preprocessing", "ModelFile", "Metadata")]
CLASSPATH = "SCARLET_KOTLIN_CLASSPATH"


def test_names_in_the_manifest_and_the_resources_exist():
    [activity] = ElementTree.parse(MAIN / "AndroidManifest.xml").iter("activity")
    name = activity.get("{http://schemas.android.com/apk/res/android}name")
    assert (SOURCES / f"{name.removeprefix('.')}.kt").is_file()
    strings = {string.get("name") for string in ElementTree.parse(MAIN / "res/values/strings.xml").iter("string")}
    used = set(re.findall(r"R\.string\.(\w+)", (SOURCES / "MainActivity.kt").read_text()))
    assert used | {"app_name"} == strings
    assert 'namespace = "scarlet.classifier"' in (ANDROID / "app/build.gradle.kts").read_text()


def test_the_unit_tests_find_the_contracts_cases():
    [path] = re.findall(r'rootDir.resolve\("(.*)"\)', (ANDROID / "app/build.gradle.kts").read_text())
    assert (ANDROID / path).resolve() == ANDROID.parent / "contract_cases.json" and (ANDROID / path).is_file()


def test_what_is_tested_here_uses_no_android_class():
    for path in PLAIN:
        imported = re.findall(r"^import (\S+)", path.read_text(), re.MULTILINE)
        assert all(name.startswith(("kotlin.", "java.", "org.json.")) for name in imported)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("kotlinc") or not shutil.which("java"), reason="kotlinc or java is not installed")
@pytest.mark.skipif(
    CLASSPATH not in os.environ, reason=f"{CLASSPATH} names no junit4, hamcrest, org.json, kotlin-stdlib"
)
def test_plain_kotlin_compiles_and_its_unit_tests_pass(model, data, float_file, tmp_path):
    """On a float32 file and on one with int8 ends, whose metadata and quantisation it must read."""
    libraries = os.environ[CLASSPATH]
    int8_file = tmp_path / "int8.tflite"
    export_tflite(model, int8_file, "int8", data, preprocessing=Preprocessing(16), float_ends=False)
    command = ["kotlinc", "-cp", libraries, "-d", str(tmp_path / "classes"), *map(str, [*PLAIN, *TESTS.glob("*.kt")])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    detail = Interpreter(str(int8_file)).get_input_details()[0]
    assert detail["dtype"] is np.int8
    scale, zero_point = detail["quantization"]
    for file, options in ((float_file, []), (int8_file, [f"-Dinput={scale!r} {zero_point}"])):
        options = [f"-Dcontract={ANDROID.parent / 'contract_cases.json'}", f"-Dmodel={file}", *options]
        classes = [f"scarlet.classifier.{path.stem}" for path in sorted(TESTS.glob("*.kt"))]
        command = [
            "java",
            "-cp",
            f"{tmp_path / 'classes'}:{libraries}",
            *options,
            "org.junit.runner.JUnitCore",
            *classes,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and "OK (9 tests)" in done.stdout, done.stdout
