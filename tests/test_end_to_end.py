"""The command line on real images: every stage, killed and resumed, down to verified files."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

CONFIG = {
    "name": "tiny",
    "data": {"source": "digits", "image_size": 8, "augmentation": "shift", "max_train_examples": 400},
    "space": {
        "name": "tiny",
        "stem_channels": 8,
        "stem_stride": 1,
        "first_channels": 8,
        "stages": [{"channels": 8, "depth": 2, "stride": 2}, {"channels": 12, "depth": 1, "stride": 1}],
        "choices": [
            {"expansion": 3, "kernel_size": 3},
            {"expansion": 2, "kernel_size": 5, "use_se": True},
            {"skip": True},
        ],
        "tail_channels": 32,
    },
    "supernet": {"epochs": 4, "batch_size": 40, "learning_rate": 0.05, "execution": "lanes", "checkpoint_seconds": 0},
    "search": {"max_multiply_adds": "80k", "population_size": 4, "generations": 3, "recalibration_batches": 2},
    "retrain": {
        "epochs": 12,
        "batch_size": 40,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "schedule": "cosine",
        "warmup_epochs": 1,
        "ema": 0.9,
        "checkpoint_seconds": 0,
    },
    "export": {"formats": ["float32", "int8"], "calibration_examples": 50, "verification_examples": 100},
}
LEAVES = (
    "config.yaml",
    "dataset.json",
    "pareto.json",
    "run.log",
    "summary.json",
    "search/trials.jsonl",
    "search/state.json",
    "retrain/model.keras",
    "export/model_float32.tflite",
    "export/model_int8.tflite",
    "export/saved_model/1/saved_model.pb",
    "export/labels.txt",
    "export/certificate.json",
)


def scarlet(*arguments, **options):
    return [sys.executable, "-m", "scarlet_tf.cli", *map(str, arguments)]


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.fixture(scope="module")
def straight(config_file, tmp_path_factory):
    """A run that nothing disturbed: (its folder, what it printed, what it complained)."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    done = subprocess.run(scarlet("run", config_file, "--run-dir", folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


def test_one_command_leaves_everything(straight):
    folder, printed, _complained = straight
    assert [name for name in LEAVES if not (folder / name).exists()] == []
    summary = json.loads((folder / "summary.json").read_text())
    certificate = json.loads((folder / "export/certificate.json").read_text())
    assert summary["retrained"]["test_accuracy"] > 0.4  # a tenth would be chance
    assert summary["pick"]["multiply_adds"] < 80_000
    assert certificate["multiply_adds"] == summary["pick"]["multiply_adds"]
    for row in certificate["files"]:
        if "int8" not in row["file"]:
            assert row["verification"]["max_logit_difference"] < 1e-4
        assert abs(row["verification"]["top1_delta"]) <= 0.05
    assert "retrained top-1" in printed and "model_int8.tflite" in printed


def test_the_terminal_shows_no_framework_log(straight):
    _, printed, complained = straight
    for noise in ("oneDNN", "cuda", "absl::", "WARNING:", "I0000", "W0000", "Traceback"):
        assert noise not in complained and noise not in printed


def test_a_run_that_was_killed_in_every_stage_ends_the_same(config_file, straight, tmp_path):
    """kill -9 in the middle of each stage; the fourth start goes through to the same network and figures."""
    for moment in ("supernet epoch 2/4", "evaluation 3/", "retrain epoch 5/12"):
        process = subprocess.Popen(
            scarlet("run", config_file, "--run-dir", tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=chatty(),
        )  # fmt: skip
        for line in process.stderr:
            if line.startswith(moment):
                process.send_signal(signal.SIGKILL)
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL, f"it ended before {moment!r}"
    done = subprocess.run(scarlet("run", config_file, "--run-dir", tmp_path, "--json"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    resumed, expected = json.loads(done.stdout), json.loads((straight[0] / "summary.json").read_text())
    for key in ("supernet", "front", "pick", "retrained"):
        assert resumed[key] == expected[key]
    for name in ("pareto.json", "retrain/result.json"):
        assert (tmp_path / name).read_text() == (straight[0] / name).read_text()


def chatty():
    """An environment in which progress is told after every unit, so that there is a moment to be killed at."""
    import os

    return {**os.environ, "SCARLET_PROGRESS_SECONDS": "0", "PYTHONUNBUFFERED": "1"}


def test_a_finished_run_is_told_again_at_once(config_file, straight):
    folder = straight[0]
    before = {name: (folder / name).stat().st_mtime_ns for name in ("retrain/model.keras", "export/certificate.json")}
    done = subprocess.run(scarlet("run", config_file, "--run-dir", folder), capture_output=True, text=True)
    assert done.returncode == 0 and "retrained top-1" in done.stdout
    assert before == {name: (folder / name).stat().st_mtime_ns for name in before}


def test_another_config_in_the_folder_is_refused(config_file, straight):
    command = scarlet("run", config_file, "--run-dir", straight[0], "--set", "search.population_size=6")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "search.population_size" in done.stderr


def test_a_file_can_be_verified_again(straight):
    file = straight[0] / "export/model_float32.tflite"
    done = subprocess.run(scarlet("verify", file, "--json"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["max_logit_difference"] < 1e-4


def test_retraining_can_start_from_the_supernet(config_file, straight, tmp_path):
    """The path's own weights, folded, are a far better start than none: one epoch is enough."""
    changes = ["--set", "retrain.init=supernet", "--set", "retrain.epochs=1", "--set", "retrain.learning_rate=0.005"]
    done = subprocess.run(scarlet("run", config_file, "--run-dir", tmp_path, *changes), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["pick"]["init"] == "supernet"
    assert summary["retrained"]["test_accuracy"] > summary["pick"]["one_shot_accuracy"] - 0.15
    certificate = json.loads((tmp_path / "export/certificate.json").read_text())
    assert certificate["multiply_adds"] < 80_000


@pytest.mark.slow
def test_a_finished_run_can_be_optimised(config_file, straight, tmp_path):
    """The files come beside the others, verified; only the package's own lines are on the terminal."""
    folder = shutil.copytree(straight[0], tmp_path / "run")
    changes = ["--set", "optimization.quantization_aware={epochs: 1, batch_size: 40}"]
    changes += ["--set", "optimization.pruning={epochs: 1, batch_size: 40, sparsity: 0.5}"]
    command = scarlet("run", config_file, "--run-dir", folder, "--json", *changes)
    done = subprocess.run(command, capture_output=True, text=True, env=chatty())
    assert done.returncode == 0, done.stderr
    files = {row["file"]: row for row in json.loads(done.stdout)["files"]}
    assert files["model_int8_qat.tflite"]["partitions"] == files["model_float32.tflite"]["partitions"]
    assert abs(files["model_int8_qat.tflite"]["top1"] - files["model_float32.tflite"]["top1"]) <= 0.15
    assert files["model_pruned.tflite"]["max_logit_difference"] < 1e-4  # of the pruned Keras network
    assert "quantization-aware training 10/10" in done.stderr and "pruning 10/10" in done.stderr
    for noise in ("oneDNN", "cuda", "absl::", "WARNING:", "I0000", "W0000", "Traceback"):
        assert noise not in done.stderr
