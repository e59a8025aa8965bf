"""The command line on real images: every stage, killed and resumed, down to verified files.

One run is started as a user starts it; what can be done with a finished run is then done with that one, in this process.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

import flip_bits
import only_required
import pytest
import yaml

from scarlet_tf import cli
from scarlet_tf.base.files import read_json

pytestmark = pytest.mark.both_modes

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
    "supernet": {"epochs": 4, "batch_size": 40, "learning_rate": 0.05, "execution": "lanes"},
    "search": {
        "upper_bounds": {"multiply_adds": "80k"},
        "population_size": 4,
        "generations": 3,
        "recalibration_batches": 2,
    },
    "race": "off",
    "retrain": {
        "epochs": 8,
        "batch_size": 40,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "schedule": "cosine",
        "warmup_epochs": 1,
        "ema": 0.9,
    },
    "export": {"calibration_examples": 50, "verification_examples": 100},
}
# Where files are not what is tested: one, without its latency.
ONE_FILE = ["--set", "export.formats=[float32]", "--set", "export.saved_model=false"]
ONE_FILE += ["--set", "export.benchmark_threads=0"]
EVERY_STEP = ["--set", "checkpoint_seconds=0"]
TFLITE = [f"model_{name}.tflite" for name in ("float32", "float16", "dynamic", "int8")]
LEAVES = (
    "config.yaml",
    "dataset.json",
    "pareto.json",
    "run.log",
    "summary.json",
    "search/trials.jsonl",
    "retrain/model.keras",
    *(f"export/{name}" for name in TFLITE),
    "export/saved_model/1/saved_model.pb",
    "export/labels.txt",
    "export/certificate.json",
)
NOISE = ("oneDNN", "cuda", "absl::", "WARNING:", "I0000", "W0000", "Traceback")


def scarlet(*arguments, start=("-m", "scarlet_tf")):
    return [sys.executable, *start, *map(str, arguments)]


def in_process(*arguments):
    """The exit code."""
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.fixture(scope="module")
def straight(config_file, tmp_path_factory):
    """A run that nothing disturbed, without the extras: (its folder, what it printed, what it complained)."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    command = scarlet("run", config_file, "--run-dir", folder, start=[only_required.__file__])
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


@pytest.fixture(scope="module")
def summary(straight):
    return read_json(straight[0] / "summary.json")


def test_one_command_leaves_everything(straight, summary):
    folder, printed, _complained = straight
    assert [name for name in LEAVES if not (folder / name).exists()] == []
    certificate = json.loads((folder / "export/certificate.json").read_text())
    assert summary["retrained"]["test_accuracy"] > 0.4  # a tenth would be chance
    assert summary["pick"]["multiply_adds"] < 80_000
    assert certificate["multiply_adds"] == summary["pick"]["multiply_adds"]
    assert [row["file"] for row in certificate["files"]] == [*TFLITE, "saved_model/1"]
    verified = {row["file"]: row["verification"] for row in certificate["files"]}
    # Float32 sums come in another order in the file: 1e-4 is far above their rounding and far below a wrong weight.
    assert all(verified[name]["max_logit_difference"] <= 1e-4 for name in ("model_float32.tflite", "saved_model/1"))
    assert all(abs(row["top1_delta"]) <= 0.05 for row in verified.values())
    assert "retrained top-1" in printed and "model_int8.tflite" in printed


def test_the_terminal_shows_the_packages_own_lines_alone(straight):
    folder, printed, complained = straight
    own = ("[", "run forecast", "supernet", "search", "retrain", "writing", "verifying", "benchmark")
    assert [line for line in complained.splitlines() if not line.startswith((*own, str(folder / "export")))] == []
    assert not any(noise in printed for noise in NOISE)


@pytest.mark.slow
def test_a_run_that_was_killed_in_every_training_and_search_ends_the_same(
    config_file, straight, summary, tmp_path, capfd
):
    """kill -9 in the middle of each stage; the fourth start goes through to the same network and figures."""
    run = ["run", config_file, "--run-dir", tmp_path, *ONE_FILE, *EVERY_STEP]
    for moment in ("supernet epoch 2/4", "evaluation 3/", "retrain epoch 3/8"):
        process = subprocess.Popen(
            scarlet(*run), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=chatty()
        )
        for line in process.stderr:
            if line.startswith(moment):
                process.send_signal(signal.SIGKILL)
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL, f"it ended before {moment!r}"
    assert in_process(*run, "--json") == 0
    resumed = json.loads(capfd.readouterr().out)
    for key in ("supernet", "front", "pick", "retrained"):
        assert resumed[key] == summary[key]
    for name in ("pareto.json", "retrain/result.json"):
        assert (tmp_path / name).read_text() == (straight[0] / name).read_text()


def chatty():
    """An environment in which progress is told after every unit, so that there is a moment to be killed at."""
    return {**os.environ, "SCARLET_PROGRESS_SECONDS": "0", "PYTHONUNBUFFERED": "1"}


def test_a_finished_run_is_told_again_and_not_repeated(config_file, straight, summary, capfd):
    run = ["run", config_file, "--run-dir", straight[0]]
    before = {name: (straight[0] / name).stat().st_mtime_ns for name in LEAVES[5:]}
    assert in_process(*run, "--json") == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == summary
    assert told.err.splitlines() == [
        f"[{number}/4] {name}: done before"
        for number, name in enumerate(("train-supernet", "search", "retrain", "export"), 1)
    ]
    assert in_process(*run) == 0
    assert "retrained top-1" in capfd.readouterr().out
    assert before == {name: (straight[0] / name).stat().st_mtime_ns for name in before}


def test_another_config_in_the_folder_is_refused(config_file, straight, capfd):
    assert in_process("run", config_file, "--run-dir", straight[0], "--set", "search.population_size=6") == 2
    complained = capfd.readouterr().err
    assert "search.population_size" in complained and "Traceback" not in complained


def test_a_file_can_be_verified_again(straight, summary, capfd):
    assert in_process("verify", straight[0] / "export/model_float32.tflite", "--json") == 0
    verified = json.loads(capfd.readouterr().out)
    assert verified[0]["max_logit_difference"] == summary["files"][0]["max_logit_difference"]


def test_a_run_keeps_its_certificate_until_a_byte_is_changed(straight, tmp_path, capfd):
    """The byte leaves the file working."""
    folder = shutil.copytree(straight[0], tmp_path / "run")
    assert in_process("verify", folder, "--json") == 0
    assert json.loads(capfd.readouterr().out)["passed"]
    labels = folder / "export/labels.txt"
    labels.write_text(labels.read_text().replace("0", "O"))
    assert in_process("verify", folder, "--digests-only") == 1
    out, err = capfd.readouterr()
    assert "FAILED labels.txt SHA-256" in out and "1 of" in err and "Traceback" not in err


@pytest.mark.parametrize("flips", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_flipped_bit_gives_a_traceback_or_another_figure(straight, flips):
    """Of the files in which nobody has to notice a change, `flip_bits` states why."""
    found = flip_bits.flip_bits(straight[0], flips, seed=0, again=flips > 60)
    assert found["ok"], json.dumps(found, indent=1)
    unnoticed = {
        name
        for name, outcomes in found["files"].items()
        if any("verify passes; run shows" in said for said in outcomes)
    }
    assert {name for name in unnoticed if not name.endswith(".npz")} <= found["not_checked"].keys()
    assert set(found["done_again"].values()) <= {"shows the same figures and says so; then verify passes"}


def test_files_can_be_timed_side_by_side(straight, capfd):
    files = [straight[0] / "export" / name for name in (TFLITE[0], TFLITE[-1])]
    assert in_process("benchmark", *files, "--rounds", "2", "--seconds", "0.01", "--json") == 0
    rows = json.loads(capfd.readouterr().out)
    assert [row["ratio"] == 1 for row in rows] == [True, False] and all(row["milliseconds"] > 0 for row in rows)


def test_searches_can_be_compared_on_a_finished_run(config_file, straight, tmp_path, capfd):
    folder = shutil.copytree(straight[0], tmp_path / "run")
    compare = ["search", config_file, "--run-dir", folder, "--compare", "--algorithms", "random", "nsga2", "--seeds", 0]
    assert in_process(*compare, "--json") == 0
    compared = json.loads(capfd.readouterr().out)
    assert compared["complete"] and list(compared["algorithms"]) == ["random", "nsga2"]
    assert sorted(path.name for path in (folder / "compare").glob("[!.]*")) == [
        "compare.json",
        "evaluations.jsonl",
        "hypervolume.png",
        "searches",
    ]


@pytest.mark.slow
def test_retraining_can_start_from_the_supernet(config_file, straight, tmp_path):
    """The path's own weights, folded, are a far better start than none: one epoch is enough."""
    for name in ("supernet", "search"):
        shutil.copytree(straight[0] / name, tmp_path / name)
    shutil.copy(straight[0] / "pareto.json", tmp_path)
    changes = ["--set", "retrain.init=supernet", "--set", "retrain.epochs=1", "--set", "retrain.learning_rate=0.005"]
    assert in_process("run", config_file, "--run-dir", tmp_path, *changes, *ONE_FILE) == 0
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
    assert not any(noise in done.stderr for noise in NOISE)
