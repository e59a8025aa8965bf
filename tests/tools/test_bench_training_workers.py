"""The benchmark of training on several workers: what its jobs are, and the figures of a row."""

import json

import pytest

import bench_training_workers as bench

SMALL = ["--space", "tiny", "--pixels", "16", "--batch-size", "4"]


@pytest.fixture
def run(monkeypatch, capsys):
    """run(options...) -> the JSON object that the benchmark prints."""

    def call(*options):
        monkeypatch.setattr("sys.argv", ["bench_training_workers.py", *SMALL, *options])
        assert bench.main() == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


def test_jobs_and_figures(run, monkeypatch):
    """Two workers that need 5 s for the one's batch, of 8 s, and 8 s for twice that; half of the time they wait."""
    jobs = []

    def measured(case, workers, threads):
        jobs.append((case["training"], case["batch_size"], workers, threads))
        seconds = 8.0 if workers == 1 or case["batch_size"] == 8 else 5.0
        return {"seconds": seconds, "cpu_seconds": seconds / workers}

    monkeypatch.setattr(bench, "run", measured)
    found = run("--trainings", "lanes", "--rounds", "2")
    assert jobs == [("lanes", 4, 1, 1), ("lanes", 4, 2, 1), ("lanes", 8, 2, 1)] * 2
    shared, each = found["results"]
    assert (shared["batch"], shared["speedup"], shared["cpu_speedup"]) == ("global", 1.6, 3.2)
    assert (each["batch"], each["speedup"], each["seconds"]) == ("each", 2.0, [[8.0, 8.0]] * 2)


@pytest.mark.parametrize("options", [["--workers", "1"], ["--batch-size", "3"], ["--steps", "2"], ["--rounds", "0"]])
def test_options_out_of_range_are_refused(run, capsys, options):
    with pytest.raises(SystemExit) as error:
        run(*options)
    assert error.value.code == 2 and "expected --" in capsys.readouterr().err


def test_a_worker_that_fails_ends_the_benchmark_with_what_it_said(monkeypatch, tmp_path):
    failing = tmp_path / "failing.py"
    failing.write_text("raise SystemExit('no such space')")
    monkeypatch.setattr(bench, "__file__", str(failing))
    with pytest.raises(RuntimeError, match="ended with 1: no such space"):
        bench.run({"space": "none"}, workers=1, threads=1)


@pytest.mark.slow
def test_two_workers_are_measured(run):
    [shared, each] = run("--trainings", "sequential", "--steps", "4")["results"]
    for row in (shared, each):
        assert row["speedup"] > 0 and row["cpu_speedup"] > 0 and len(row["seconds"]) == 2
