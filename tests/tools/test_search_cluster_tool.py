"""tools/search_cluster.py on digits: a supernet, its chief and two workers as processes."""

import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
import yaml
from test_end_to_end import CONFIG

import search_cluster

TOOL = pathlib.Path(__file__).parents[2] / "tools" / "search_cluster.py"
SECONDS = 300


def tool(config, folder, *arguments):
    return [sys.executable, str(TOOL), str(config), "--run-dir", str(folder), *arguments]


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "supernet": {**CONFIG["supernet"], "epochs": 1}}))
    return path


@pytest.fixture(scope="module")
def trained(config_file, tmp_path_factory):
    from scarlet_tf import run as runs
    from scarlet_tf.config import load_config

    folder = tmp_path_factory.mktemp("runs") / "trained"
    runs.run_stage("train-supernet", load_config(config_file), folder)
    return folder


@pytest.mark.slow
def test_two_workers_leave_the_front_that_one_process_finds(config_file, trained, tmp_path):
    from scarlet_tf import run as runs
    from scarlet_tf.config import load_config

    alone, shared = (pathlib.Path(shutil.copytree(trained, tmp_path / name)) for name in ("alone", "shared"))
    done = subprocess.run(
        tool(config_file, shared, "--host", "0.0.0.0"), capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    runs.run_stage("search", load_config(config_file), alone)
    assert (shared / "pareto.json").read_text() == (alone / "pareto.json").read_text()
    assert "is not encrypted" in done.stderr
    assert "KERASTUNER_TUNER_ID=worker-2" in done.stdout and "scarlet search" in done.stdout
    for log in ("worker-0.log", "worker-1.log"):
        text = (shared / "search" / log).read_text()
        assert "search" in text and "Traceback" not in text
    # The workers wrote nothing but their logs: the chief's run.log has one search.
    assert (shared / "run.log").read_text().count("[2/4] search") == 1


def test_mistakes_end_the_tool_before_anything_starts(config_file, trained, monkeypatch, capsys):
    monkeypatch.setattr(search_cluster, "SearchCluster", None)
    monkeypatch.setattr(sys, "argv", tool(config_file, trained, "--host", "192.0.2.1")[1:])
    assert search_cluster.main() == 2
    assert "192.0.2.1:0: expected a free address and port of this machine" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", tool(config_file, trained, "--workers", "-1")[1:])
    with pytest.raises(SystemExit) as caught:
        search_cluster.main()
    assert caught.value.code == 2 and "expected --workers >= 0" in capsys.readouterr().err


@pytest.mark.slow
def test_from_images_to_files_with_an_interrupted_search(config_file, tmp_path):
    """The tool trains, is killed with all its processes in the search, searches again; `scarlet run` does the rest."""
    from test_end_to_end import chatty

    process = subprocess.Popen(tool(config_file, tmp_path), stderr=subprocess.PIPE, text=True, env=chatty())
    try:
        for line in process.stderr:
            if line.startswith("search ") and "/12" in line:
                process.send_signal(signal.SIGKILL)
        assert process.wait(SECONDS) == -signal.SIGKILL
        done = subprocess.run(tool(config_file, tmp_path), capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        done = subprocess.run(
            [sys.executable, "-m", "scarlet_tf", "run", str(config_file), "--run-dir", str(tmp_path)],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "search: done before" in done.stderr and (tmp_path / "export/certificate.json").exists()
    finally:
        process.kill()
        process.communicate()
