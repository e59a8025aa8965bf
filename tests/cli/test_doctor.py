"""`scarlet doctor`: what each check says, and that none of them ends in a traceback."""

import collections
import dataclasses
import importlib.metadata
import json
import pathlib
import sys

import numpy as np
import pytest
import yaml

from scarlet_tf import cli
from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.cli import doctor
from scarlet_tf.cli import doctor_checks as checks
from scarlet_tf.cli.doctor_checks import OK, PROBLEM, WARNING, Finding
from scarlet_tf.space.search_space import Architecture

SPACE = {
    "name": "tiny",
    "stages": [{"channels": 8, "depth": 1}],
    "choices": [{"expansion": 3, "kernel_size": 3}, {"skip": True}],
    "stem_channels": 8,
    "first_channels": 8,
    "tail_channels": 16,
}


def only(findings):
    [finding] = findings
    return finding


@pytest.fixture
def installed(monkeypatch):
    """What is required and what is there, as the test says."""
    state = {"requires": [], "versions": {}}

    def version(name):
        if name not in state["versions"]:
            raise importlib.metadata.PackageNotFoundError(name)
        return state["versions"][name]

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: state["requires"])
    monkeypatch.setattr(importlib.metadata, "version", version)
    return state


def test_a_check_that_fails_itself_is_a_problem_and_the_others_go_on():
    def broken():
        yield Finding("broken", OK, "a beginning")
        raise RuntimeError("the disk is on fire\nand more")

    def bad_input():
        raise InputError("my.yaml: unknown key")

    listed = [("broken", broken), ("bad", bad_input), ("last", lambda: [Finding("last", OK, "fine")])]
    found = list(doctor.findings_of(listed))
    assert [(f.check, f.status, f.found) for f in found] == [
        ("broken", OK, "a beginning"),
        ("broken", PROBLEM, "RuntimeError: the disk is on fire"),
        ("bad", PROBLEM, "my.yaml: unknown key"),
        ("last", OK, "fine"),
    ]


def test_packages_are_held_against_their_ranges(installed):
    installed["requires"] = ["numpy>=2.0,<3", "keras<3.16,>=3.15", "rich>=13", 'torch>=2.4; extra == "torch"']
    installed["versions"] = {"numpy": "2.4.6", "keras": "3.9.0"}
    keras, rich, fitting = checks.check_packages()
    assert (keras.status, keras.advice) == (WARNING, "pip install 'keras<3.16,>=3.15'")
    assert "keras 3.9.0, tested with <3.16,>=3.15" in keras.found
    assert (rich.status, rich.advice) == (PROBLEM, "pip install 'rich>=13'")
    assert (fitting.status, fitting.found) == (OK, "1 are as required; numpy 2.4.6")


def test_extras_that_are_missing_name_the_command_that_installs_them(installed, monkeypatch):
    monkeypatch.setattr(checks, "PURPOSES", {"torch": "checkpoints", "jax": "lanes", "serving": "servers"})
    installed["requires"] = ['torch>=2.4,<3; extra == "torch"', 'jax>=0.5; extra == "jax"', 'ts>=2; extra == "serving"']
    installed["versions"] = {"jax": "0.4", "ts": "2.21"}
    torch, jax, serving = checks.check_extras()
    assert (torch.status, torch.advice) == (OK, "pip install 'scarlet_tf[torch]'")
    assert torch.found == "not installed (torch); only for checkpoints"
    assert jax.status == WARNING and "jax 0.4 (>=0.5)" in jax.found
    assert (serving.status, serving.found, serving.advice) == (OK, "installed, for servers", "")


def test_every_extra_for_users_has_a_purpose():
    config = (pathlib.Path(__file__).parents[2] / "setup.cfg").read_text()
    section = config.split("[options.extras_require]")[1].split("[options.entry_points]")[0]
    extras = {line.removesuffix(" =") for line in section.splitlines() if line.endswith(" =")}
    assert set(checks.PURPOSES) == extras - {"docs", "test"}


def test_python_is_held_against_the_package_s(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: {"Requires-Python": ">=3.11"})
    assert only(checks.check_python()).status == OK
    monkeypatch.setattr(checks.platform, "python_version", lambda: "3.9.1")
    assert only(checks.check_python()).found == "3.9.1, expected >=3.11"


def test_the_memory_of_tensors_is_said_where_somebody_has_decided(onednn):
    assert "TF_CPU" not in only(checks.check_memory()).found
    onednn.setenv(host.ALLOCATOR, "1")
    onednn.setenv(host.SET_BY_US, f"{host.ALLOCATOR}=1")
    found = only(checks.check_memory()).found
    assert found.endswith(" available; memory of tensors: set by scarlet_tf (TF_CPU_ALLOCATOR_USE_BFC=1)")


def test_little_memory_and_disk_are_warnings_with_advice(monkeypatch, tmp_path):
    from scarlet_tf.training import memory

    monkeypatch.setattr(memory, "reachable_bytes", lambda: 2**30)
    found = only(checks.check_memory())
    assert found.status == WARNING and "supernet.execution=sequential" in found.advice
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage(0, 0, 2**20))
    assert only(checks.check_disk(tmp_path)).status == WARNING
    assert only(checks.check_disk(tmp_path / "none")).status == PROBLEM


def test_a_backend_other_than_tensorflow_is_a_problem(monkeypatch):
    import keras

    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    found = only(checks.check_keras())
    assert found.status == PROBLEM and "got 'jax'" in found.found and "KERAS_BACKEND=tensorflow" in found.advice


def test_a_gpu_that_tensorflow_does_not_see_is_a_warning(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(checks.shutil, "which", lambda program: "/usr/bin/" + program)
    assert "tensorflow[and-cuda]" in only(checks.check_devices()).advice
    gpu = collections.namedtuple("device", "name")("GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [gpu])
    assert "TF_FORCE_GPU_ALLOW_GROWTH=true" in only(checks.check_devices()).advice


def test_data_folders_that_are_not_there_are_problems(monkeypatch, tmp_path):
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    assert "1 folders: cifar10" in only(checks.check_data_folder()).found
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path / "none"))
    assert only(checks.check_data_folder()).status == PROBLEM


def test_a_torn_network_of_one_s_own_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path))
    (tmp_path / "mine.json").write_text("{")
    torn, folder = checks.check_zoo_folder()
    assert (torn.status, torn.advice) == (WARNING, "scarlet zoo mine --remove")
    assert folder.found.endswith("with 1 networks")


def write_config(tmp_path, **changes):
    config = {
        "data": {"source": "digits", "image_size": 8},
        "space": SPACE,
        "search": {"upper_bounds": {"multiply_adds": "20k"}},
    }
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump({**config, **changes}))
    return str(path)


def test_a_config_is_checked_with_its_images_and_its_budget(tmp_path):
    valid, images, budget = checks.check_config(write_config(tmp_path))
    assert valid.status == images.status == budget.status == OK
    assert images.found == "digits: 1,797 train images of 10 classes, shorter side 8 pixels"
    assert budget.advice == f"scarlet run {tmp_path / 'my.yaml'}"
    path = write_config(tmp_path, search={"upper_bounds": {"multiply_adds": "1k"}})
    found = list(doctor.findings_of([("config", lambda: checks.check_config(path))]))
    assert (found[-1].status, found[-1].check) == (PROBLEM, "config")
    assert "no network of the space has less than 1000" in found[-1].found


def test_files_that_a_run_refuses_are_a_problem(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").write_bytes(png())
    (tmp_path / "photos" / "a" / "2.png").write_text("no image")
    data = {"source": "folder", "directory": str(tmp_path / "photos"), "image_size": 8}
    found = list(checks.check_config(write_config(tmp_path, data=data)))[1]
    assert (
        found.status == PROBLEM and "1 of 3 sampled files cannot be decoded" in found.found and "2.png" in found.found
    )


def test_what_is_not_used_and_equal_files_are_named(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "train/a/.DS_Store", "extra/a/1.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(png())
    data = {"source": "folder", "directory": str(tmp_path / "photos"), "image_size": 8}
    found = [finding for finding in checks.check_config(write_config(tmp_path, data=data)) if finding.status == WARNING]
    assert [finding.found for finding in found] == [
        "extra/ is not used: its name is not that of a split",
        "photos: left out 1 hidden or system (named in run.log, and with --verbose)",
        "photos: 1 images are there more than once in two classes: train/a/1.png = train/b/1.png",
    ]


def png():
    import tensorflow as tf

    return tf.io.encode_png(np.zeros([12, 16, 3], np.uint8)).numpy()


# -- the trial ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["0", "1"])
def test_training_and_export_are_what_plain_keras_computes(mode):
    outcome = doctor.run_trial(mode, doctor.COMMAND, timeout=550, used="neither")  # a busy machine takes minutes
    assert outcome.problems == []
    names = [comparison["name"] for comparison in outcome.printed["comparisons"]]
    steps = ["fair step (sequential)", "fair step (lanes)", "uniform step", "evaluation", "retraining step"]
    assert names == [*steps, "folding", "float32 file", "int8 file"]
    assert outcome.printed["route"] == ("onednn" if outcome.printed["onednn"] else "eigen")
    assert ("onednn" in outcome.printed["refused"]) is not outcome.printed["onednn"]
    assert not (mode == "0" and outcome.printed["onednn"])


def test_the_trial_s_space_has_every_filter_with_every_stride_and_a_let_to_fold():
    from scarlet_tf.cli import doctor_trial as trial
    from scarlet_tf.export.folding import fold
    from scarlet_tf.models.supernet import extract

    assert {layer.stride for layer in trial.SPACE.layers} == {1, 2}
    assert [choice.kernel_size for choice in trial.SPACE.choices] == [3, 5, 7, 0]
    _, rows = fold(extract(trial.new_supernet(), Architecture(trial.MEASURED, trial.SPACE)))
    assert [row.rule != 5 for row in rows] == [True]


def step_of(path):
    """The comparison for a uniform step of that path."""
    from scarlet_tf.cli import doctor_trial as trial

    images, labels = trial.examples()
    paths = np.array([path], np.int32)
    gradients = [trial.plain_path_gradients(trial.new_supernet(), paths[0], images, labels)]
    return trial.compare_step("step", "sequential", paths, gradients, images, labels)


def test_a_kernel_that_is_wrong_by_a_hundredth_is_found(monkeypatch):
    from scarlet_tf.evaluation import kernels

    route = kernels.route()
    right = kernels.GRADIENTS[route]

    def wrong(*arguments):
        dx, dw = right(*arguments)
        return dx, dw * 1.01

    monkeypatch.setitem(kernels.GRADIENTS, route, wrong)
    comparison = step_of([1, 2, 1])
    # The filter's gradient is off by 0.01 of its own greatest value.
    assert comparison.difference == pytest.approx(0.01, rel=0.1)
    outcome = doctor.Outcome("1", {"comparisons": [dataclasses.asdict(comparison)]})
    assert outcome.problems == ["step: 1.0e-02 of the greatest value off plain Keras, expected at most 0.001"]


def test_a_comparison_is_relative_and_nan_is_never_equal():
    from scarlet_tf.cli.doctor_trial import compared

    zeros, ones = np.zeros(2), np.ones(2)
    assert compared("", {"a": ones * 1.5, "b": zeros}, {"a": ones, "b": zeros}).difference == 0.5
    # An array of zeros is held against a hundredth of the greatest value of all.
    assert compared("", {"a": ones, "b": ones * 0.02}, {"a": ones, "b": zeros}).difference == pytest.approx(2)
    assert compared("", {"a": ones * np.nan}, {"a": ones}).difference > 1e300
    json.dumps(dataclasses.asdict(compared("", {"a": ones * np.nan}, {"a": ones})), allow_nan=False)


def trials(script, timeout=60.0):
    """The findings where Python runs `script`, which sees `mode` and `printed`, instead of the trial."""
    begin = f"import json, os, signal, sys, time\nmode = os.environ['TF_ENABLE_ONEDNN_OPTS']\nprinted = {PRINTED}\n"
    return list(doctor.check_trials([sys.executable, "-c", begin + script], timeout))


PRINTED = {
    "route": "onednn",
    "refused": {},
    "onednn": True,
    "comparisons": [{"name": "folding", "difference": 2e-7, "tolerance": 1e-3}],
    "seconds": 0.5,
}
PRINT = "printed['onednn'] = mode == '1'\nprint(json.dumps(printed))"


@pytest.fixture
def onednn(monkeypatch):
    """The user's setting."""
    for name in (host.ALLOCATOR, host.SET_BY_US, host.KERNELS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(host.VARIABLE, "1")
    return monkeypatch


def test_the_faster_mode_is_told_and_the_slower_one_warned_of(onednn):
    script = f"printed['seconds'] = {{'1': 0.25, '0': 0.5}}[mode]\n{PRINT}"
    on, on_kernels, off, _, speed = trials(script)
    assert (on.check, on.status, off.check) == ("oneDNN on", OK, "oneDNN off")
    assert on.found == "relative differences from plain Keras, all within tolerance: folding 2e-07"
    assert on_kernels.found == "kernels: onednn"
    both = ["oneDNN on (set by you): 1.00 of the faster one's time", "oneDNN off: 2.00 of the faster one's time"]
    assert (speed.status, speed.found) == (OK, "; ".join(both))
    onednn.setenv(host.VARIABLE, "0")
    speed = trials(script)[-1]
    assert (speed.status, speed.advice) == (WARNING, "export TF_ENABLE_ONEDNN_OPTS=1")
    assert speed.found.startswith("oneDNN off (set by you): 2.00")


def test_without_onednn_there_is_nothing_to_compare(onednn):
    assert (
        "TensorFlow has no oneDNN for this system"
        in trials("print(json.dumps({**printed, 'onednn': False}))")[-1].found
    )


def test_what_differs_from_plain_keras_is_a_problem_with_the_way_round_it(onednn):
    script = f"printed['comparisons'][0]['difference'] = 0.5 if mode == '1' else 0\n{PRINT}"
    problem, *others = trials(script)
    assert (problem.check, problem.status) == ("oneDNN on", PROBLEM)
    assert problem.found == "folding: 5.0e-01 of the greatest value off plain Keras, expected at most 0.001"
    look = "TF_ENABLE_ONEDNN_OPTS=1 python -m scarlet_tf.cli.doctor_trial shows all of it"
    assert problem.advice == f"export TF_ENABLE_ONEDNN_OPTS=0; {look}"
    assert all(finding.status == OK for finding in others)


def test_kernels_that_every_processor_has_and_that_are_refused_are_a_warning(onednn):
    script = f"printed['refused'] = {{'eigen': 'a gradient differs'}}\n{PRINT}"
    assert [f.status for f in trials(script)] == [OK, WARNING, OK, WARNING, OK]
    assert trials(script)[1].found == "kernels: onednn; eigen refused: a gradient differs"


@pytest.mark.parametrize(
    ("ending", "found"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "ended by SIGILL: the last line"),
        ("raise ValueError('no such kernel')", "ended with exit code 1: ValueError: no such kernel"),
        ("sys.exit(3)", "ended with exit code 3: the last line"),
        ("print('half a res')", "printed no result: the last line"),
    ],
)
def test_a_trial_that_ends_early_is_a_problem(onednn, ending, found):
    script = f"print('first\\nthe last line ', file=sys.stderr, flush=True)\nif mode == '0':\n {ending}\nelse:\n "
    *_, problem, speed = trials(script + PRINT.replace("\n", "; "))
    assert (problem.check, problem.status, problem.found) == ("oneDNN off", PROBLEM, found)
    assert problem.advice.startswith("export TF_ENABLE_ONEDNN_OPTS=1; ")
    assert speed.found == "oneDNN on (set by you); not compared, since a trial failed"


def test_trials_that_hang_or_cannot_be_started_are_problems(onednn):
    on, off, _ = trials("print('waiting', file=sys.stderr, flush=True)\ntime.sleep(600)", timeout=3)
    assert on.status == off.status == PROBLEM
    assert on.found == "no result within 3 s: waiting"
    assert on.advice.startswith("pip install --force-reinstall tensorflow")
    on, *_ = doctor.check_trials(["/no/such/python"])
    assert (on.status, on.found) == (PROBLEM, "could not be started: No such file or directory")


def test_kernels_that_the_user_names_are_tried_in_the_mode_that_runs_use_alone(onednn):
    onednn.setenv(host.KERNELS, "onednn")
    script = f"printed['route'] = os.environ.get('SCARLET_KERNELS', 'any')\n{PRINT}"
    assert [f.found for f in trials(script) if "kernels" in f.found] == ["kernels: onednn", "kernels: any"]


def test_each_mode_is_tried_with_what_the_command_line_sets_for_it(onednn):
    script = f"printed['route'] = str(os.environ.get('{host.ALLOCATOR}'))\n{PRINT}"
    assert [f.found for f in trials(script) if "kernels" in f.found] == ["kernels: None", "kernels: 1"]


def test_the_command_fails_where_a_check_finds_a_problem(monkeypatch, capsys):
    findings = [Finding("disk", OK, "room"), Finding("memory", WARNING, "little", "end something")]
    monkeypatch.setattr(doctor, "checks", lambda config: [("all", lambda: iter(findings))])
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok       disk              room",
        "warning  memory            little -> end something",
    ]
    findings.append(Finding("trial", PROBLEM, "broken"))
    assert cli.main(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "passed": False,
        "checks": [dataclasses.asdict(finding) for finding in findings],
    }
    assert captured.err == "scarlet: 1 of 3 checks found a problem\n"
    assert cli.main(["doctor", "--quiet"]) == 1
    assert "disk" not in capsys.readouterr().out
