"""The benchmark of a GPU: the whole script on the CPU, without TensorFlow, and what it computes from its measurements."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest
from photographs import installed_lite

import bench_gpu
import fair_paths
from scarlet_tf.parents.loading import parent

TINY = ["--cpu", "--spaces", "tiny", "--pixels", "16", "--dtypes", "float32", "--matrix", "64", "--rounds", "1"]


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not installed: pip install 'scarlet_tf[jax]'")
@pytest.mark.slow
def test_the_script_on_the_cpu_without_tensorflow(tmp_path):
    """Gradients of the measured fair step are the sum of those of the measured networks, which consist of Keras' own layers."""
    (tmp_path / "tensorflow.py").write_text(
        "raise ModuleNotFoundError('No module named tensorflow', name='tensorflow')"
    )
    root = pathlib.Path(bench_gpu.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiling takes longer than all steps
    command = [sys.executable, bench_gpu.__file__, *TINY, "--batch-size", "4"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    *table, last = done.stdout.splitlines()
    found = json.loads(last)
    assert (found["benchmark"], found["gpu"], len(table)) == ("gpu", None, 2)
    [row] = found["results"]
    assert row["gradient_error"] < 1e-4  # float32 through a dozen layers: measured 2e-6
    assert 0 < row["memory_gb"] < 8 and 0 < row["peak_share"] < 1
    assert row["images_per_second"] == pytest.approx(4 / row["seconds"])
    assert row["ratio"] == pytest.approx(row["seconds"] / row["networks_seconds"])


def measured(**changes):
    seconds = {"fair": [2.0, 4.0, 4.0], "networks": [4.0, 5.0, 16.0], "product": [1.0, 1.0, 2.0]}
    facts = {"multiply_adds": 3e12, "product_multiply_adds": 6e12, "memory_gb": 1.5, "gradient_error": 0.0}
    return {"seconds": seconds, **facts, "first_step_seconds": 9.0, "networks_first_step_seconds": 8.0, **changes}


def test_figures_of_a_row_by_hand():
    found = bench_gpu.row(measured(), batch_size=32)
    assert found["images_per_second"] == 8
    assert found["ratio"] == 0.5  # of 0.5, 0.8 and 0.25
    assert found["peak_share"] == pytest.approx(0.25)  # half the multiply-adds in 2, 4 and 2 times the time
    assert found["peak_tflops"] == 12


@pytest.fixture
def bench(monkeypatch, capsys):
    """bench(child's return value, options...) -> (exit code, lines of standard output, of standard error)."""

    def run(returned, *options):
        monkeypatch.setattr("sys.argv", ["bench_gpu.py", *options])
        monkeypatch.setattr(bench_gpu, "in_child", lambda *arguments, **options: returned)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: returned != "no jax")
        code = bench_gpu.main()
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    return run


def test_without_a_gpu_nothing_is_measured(bench):
    code, (words, last), _ = bench(None)
    assert code == 0 and "nothing was measured" in words
    assert json.loads(last) == {"benchmark": "gpu", "gpu": None}


def test_without_jax_it_ends_with_2(bench):
    assert bench("no jax")[::2] == (2, "bench_gpu: no JAX: pip install 'jax[cuda12]', or 'scarlet_tf[jax]' for --cpu\n")


def test_gradients_that_differ_are_an_error(bench):
    code, _, error = bench(measured(gradient_error=0.5), *TINY)
    assert code == 1 and "tiny: gradients differ by 0.5" in error
    assert bench(measured(gradient_error=0.5), *TINY, "--dtypes", "bfloat16")[0] == 0  # rounds in between


def test_a_row_that_does_not_fit_says_so_and_the_others_go_on(bench):
    code, lines, _ = bench({"error": "RESOURCE_EXHAUSTED: out of memory"}, *TINY, "--dtypes", "tf32", "float32")
    assert code == 0 and [row["error"][:18] for row in json.loads(lines[-1])["results"]] == ["RESOURCE_EXHAUSTED"] * 2


@pytest.mark.parametrize("option", ["--rounds", "--batch-size", "--matrix", "--pixels"])
def test_options_out_of_range_are_refused(bench, option, capsys):
    with pytest.raises(SystemExit) as error:
        bench(None, option, "0")
    assert error.value.code == 2 and f"{option}: expected at least" in capsys.readouterr().err


def test_lite0_by_its_published_structure_is_the_space_of_runs_from_its_weights():
    installed_lite(0)
    published = next(model for model in fair_paths.PUBLISHED if model.name == "efficientnet-lite0")
    assert fair_paths.layers(published, fair_paths.NUM_CLASSES)[0] == parent("lite0").spec
