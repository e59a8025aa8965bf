"""The process that the package is called in: Keras' settings are looked at first, and a forked child is told."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import yaml

import scarlet_tf as st
from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError

# Runs the command in a process that has not imported Keras, and says what it imported.
SCRIPT = (
    "import sys\nfrom scarlet_tf.cli import main\ncode = main(sys.argv[1:])\n"
    "print(code, sorted({'keras', 'tensorflow'} & set(sys.modules)))\n"
)


@pytest.fixture
def keras_json(tmp_path, monkeypatch):
    """Writes Keras' configuration."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)

    def write(**values):
        (tmp_path / "keras").mkdir(exist_ok=True)
        path = tmp_path / "keras" / "keras.json"
        path.write_text(json.dumps(values))
        return path

    return write


@pytest.mark.parametrize(
    ("variable", "values", "named"),
    [
        ("jax", {}, "KERAS_BACKEND: expected 'tensorflow', got 'jax'; unset it"),
        (None, {"backend": "torch"}, "{path}: backend: expected 'tensorflow', got 'torch'; change it there"),
        (None, {"floatx": "float16"}, "{path}: floatx: expected 'float32', got 'float16'; change it there"),
        (None, {"floatx": "bfloat16"}, "{path}: floatx: expected one of"),  # Keras' import would fail
        (None, {"image_data_format": "NHWC"}, "{path}: image_data_format: expected one of"),
        (None, {"epsilon": 0}, "{path}: epsilon: expected a number"),
    ],
)
@pytest.mark.parametrize("command", ["run", "verify"])
def test_settings_are_refused_before_anything_is_imported_read_or_written(
    command, variable, values, named, keras_json, tmp_path, monkeypatch
):
    path = keras_json(**values)
    if variable:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    (tmp_path / "my.yaml").write_text(yaml.safe_dump({"name": "x", "data": {"source": "folder", "directory": "none"}}))
    arguments = {"run": ["my.yaml", "--run-dir", "out"], "verify": ["out"]}[command]
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, command, *arguments], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout == "2 []\n"
    assert done.stderr.startswith(f"scarlet: error: {named.format(path=path)}") and done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_what_keras_takes_nothing_from_refuses_nothing(keras_json, monkeypatch):
    monkeypatch.setattr(sys, "modules", {name: m for name, m in sys.modules.items() if name != "keras"})
    host.check()  # no file
    keras_json(backend="jax").write_text("{torn")
    host.check()
    keras_json(backend="jax", floatx="float32", image_data_format="channels_first")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # which goes before the file
    host.check()


def _set(name, value):
    import keras

    getattr(keras.config, f"set_{name}")(value)


@pytest.fixture(params=[("floatx", "float16"), ("dtype_policy", "mixed_bfloat16")], ids=lambda setting: setting[0])
def other_setting(request):
    name, value = request.param
    _set(name, value)
    yield f"keras.config.{name}()"
    _set(name, "float32")
    _set("dtype_policy", "float32")  # floatx is its default


@pytest.mark.parametrize(
    "call",
    [
        lambda: st.train_supernet(None, None),
        lambda: st.train_betanas(None, None, None),
        lambda: st.retrain(None, None, None),
        lambda: st.finetune(None, None, None),
        lambda: st.rank(None, None, None),
        lambda: st.Evaluator(None, None),
        lambda: st.prune(None, None),
        lambda: st.quantize_aware(None, None, None),
        lambda: st.export_tflite(None, "x"),
        lambda: st.export_saved_model(None, "x"),
        lambda: st.verify("x", None, None),
    ],
)
def test_calls_refuse_settings_of_the_process_first(call, other_setting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(f"{other_setting}: expected 'float32', got ")
    assert "; call keras.config.set_" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_pipeline_refuses_settings_of_the_process_before_it_makes_a_folder(other_setting, tmp_path):
    from scarlet_tf import run as runs
    from scarlet_tf.config import parse_config

    config = parse_config({"name": "x", "space": "s2", "data": {"source": "digits"}}, "my.yaml")
    for call in (runs.run_all, runs.run_ranking, runs.run_comparison):
        with pytest.raises(InputError, match=r"keras\.config"):
            call(config, tmp_path / "run")
    with pytest.raises(InputError, match=r"keras\.config"):
        runs.run_stage("retrain", config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_layers_and_models_take_every_setting(other_setting):
    from tiny import tiniest_space

    network = st.build_network(st.Architecture((0,), tiniest_space()), num_classes=3)
    assert network(np.zeros([1, 8, 8, 3], "float32")).shape == (1, 3)


FORK = """
import multiprocessing
import scarlet_tf as st
from tiny import tiniest_space
import tensorflow as tf

def child(count):
    network, said = st.Architecture((0,), tiniest_space()), []
    for call in (lambda: st.build_network(network, num_classes=3), lambda: st.Supernet(tiniest_space()),
                 lambda: st.retrain(network, None, None), lambda: st.export_tflite(None, "x"))[:count]:
        try:
            said.append(type(call()).__name__)
        except st.InputError as error:
            said.append(str(error))
    return said

st.retrain, st.build_network, st.Supernet, st.export_tflite  # imported here, not in the child
with multiprocessing.get_context("fork").Pool(1) as pool:
    before = pool.map(child, [2])[0]  # TensorFlow is imported, but not used
tf.ones([]) + 1
with multiprocessing.get_context("fork").Pool(1) as pool:
    print([before, pool.map(child, [4])[0]])
"""


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="a system without fork")
def test_a_child_forked_after_tensorflow_was_used_gets_a_sentence():
    here = pathlib.Path(__file__).parent  # of `tiny`
    done = subprocess.run(
        [sys.executable, "-c", FORK], cwd=here, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = ast.literal_eval(done.stdout.splitlines()[-1])
    assert before == ["Network", "Supernet"]
    assert len(after) == 4 and all('get_context("spawn")' in text for text in after)
