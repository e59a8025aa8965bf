"""What a run needs: the package's requirements without its extras, and nothing that Windows lacks; what `make pytest` runs."""

import json
import os
import pathlib
import pkgutil
import shutil
import subprocess
import sys

import only_required
import pytest

import scarlet_tf

ROOT = pathlib.Path(only_required.__file__).parents[1]
# Only these import what comes with the extra `optimization`: they run in its worker process.
WORKERS = {"keras2_copy", "parts", "quantizing", "tasks"}
MODULES = [
    module.name
    for module in pkgutil.walk_packages(scarlet_tf.__path__, "scarlet_tf.")
    if module.name not in {f"scarlet_tf.optimization.{name}" for name in WORKERS} | {"scarlet_tf.__main__"}
]


def python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(only_required.__file__).parent)


def test_extras_bring_what_is_refused_and_requirements_what_is_not():
    refused, required = only_required.refused(), only_required.required()
    assert {"jax", "tf_keras", "tensorflow_model_optimization", "tensorflow_serving", "mkdocs", "nbformat"} <= refused
    assert {"tensorflow", "keras-tuner", "plotly", "filelock", "protobuf"} <= required  # the last through TensorFlow
    assert not refused & {"tensorflow", "keras_tuner", "google", "PIL", "scarlet_tf"}  # PIL through matplotlib


def test_an_extra_that_is_missing_is_named():
    code = """
import only_required
only_required.hide_extras()
from scarlet_tf.optimization.config import check_extra
check_extra()
"""
    assert "pip install 'scarlet_tf[optimization]'" in python(code).stderr


@pytest.mark.parametrize("arguments", [["--help"], ["cost", "scarlet_a", "--json"], ["run", "none.yaml"], []])
def test_python_m_scarlet_tf_is_the_command(arguments):
    module, command = (
        subprocess.run([sys.executable, *start, *arguments], capture_output=True, text=True)
        for start in (["-m", "scarlet_tf"], ["-c", "import sys; from scarlet_tf.cli import main; sys.exit(main())"])
    )
    assert (module.returncode, module.stdout, module.stderr) == (command.returncode, command.stdout, command.stderr)
    assert module.stdout or module.stderr


def test_every_module_and_the_doctor_do_without_extras_and_posix():
    """What other packages import is theirs: they are imported before. The doctor takes a network to a `.tflite` file."""
    code = """
import builtins, importlib, json, os, signal, sys
import only_required
only_required.hide_extras()
import ai_edge_litert.interpreter, filelock, grpc, keras, keras_tuner, matplotlib.figure, plotly.graph_objects, psutil
import pymoo, scipy.stats, sklearn.datasets, tensorflow, tensorflow_datasets

real = builtins.__import__
absent = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}

def import_as_on_windows(name, globals=None, *rest):
    if name.partition(".")[0] in absent and str((globals or {}).get("__name__")).startswith("scarlet_tf"):
        raise ModuleNotFoundError(f"No module named {name!r}")
    return real(name, globals, *rest)

builtins.__import__ = import_as_on_windows
for name in ("chown", "fchmod", "fork", "getgid", "getloadavg", "getuid", "mkfifo", "O_DIRECTORY", "sched_getaffinity"):
    delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGXFSZ", "setitimer", "pause"):
    delattr(signal, name)
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)

from scarlet_tf.cli import main
sys.exit(main(["doctor", "--json"]))
"""
    done = python(code, json.dumps(MODULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {check["status"] for check in json.loads(done.stdout)["checks"]} <= {"ok", "warning"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("failing", "status"), [("none", 0), ("not both_modes", 2), ("0", 2), ("1", 2)])
def test_what_computes_is_tested_in_both_modes_also_when_another_part_fails(tmp_path, failing, status):
    """With a pytest that only writes down how it was called."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in (".installed", ".installed-test"):
        (programs.parent / name).touch()
    (programs / "pytest").write_text(f"""#!/bin/sh
for last; do :; done
echo "$TF_ENABLE_ONEDNN_OPTS: $last" >> called
case "$TF_ENABLE_ONEDNN_OPTS: $last" in *"{failing}"*) exit 1;; esac
""")
    (programs / "pytest").chmod(0o755)
    of_make = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON"}  # where `make test` runs this
    kept = {name: value for name, value in os.environ.items() if name not in of_make}
    command = ["make", "--silent", "pytest"]
    done = subprocess.run(command, cwd=tmp_path, env={**kept, "TF_ENABLE_ONEDNN_OPTS": "own"}, capture_output=True)
    assert done.returncode == status
    assert (tmp_path / "called").read_text().splitlines() == [
        "own: not slow and not both_modes",
        "0: not slow and both_modes",
        "1: not slow and both_modes",
    ]
