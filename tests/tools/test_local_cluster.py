"""The launcher of a chief and its workers, with commands that take no time, and on digits."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from test_end_to_end import CONFIG

from scarlet_tf.base.cluster import SEARCH_VARIABLES

TOOL = pathlib.Path(__file__).parents[2] / "tools" / "local_cluster.py"
SECONDS = 300
IDENTITY = " ".join(f"${name}" for name in SEARCH_VARIABLES)
IS_CHIEF = "test $KERASTUNER_TUNER_ID = chief"


def tool(*command, workers=2):
    return [sys.executable, str(TOOL), "--workers", str(workers), "--", *command]


def launched(folder, script, workers=2):
    """(exit code, what processes of a shell script noted) of a launcher."""
    own = {**os.environ, "PLACE": str(folder)}
    done = subprocess.run(tool("sh", "-c", script, workers=workers), env=own, timeout=60)
    notes = folder / "notes"
    return done.returncode, sorted(notes.read_text().splitlines()) if notes.exists() else []


def test_a_chief_and_its_workers_know_one_another_and_end_together(tmp_path):
    note = f'echo {IDENTITY} $OMP_NUM_THREADS >> "$PLACE/notes"; '
    code, notes = launched(
        tmp_path, note + f'{IS_CHIEF} && while [ $(wc -l < "$PLACE/notes") -lt 3 ]; do sleep 0.05; done; exit 0'
    )
    names, hosts, ports, threads = zip(*(line.split() for line in notes), strict=True)
    assert code == 0 and names == ("chief", "worker-0", "worker-1")
    assert set(hosts) == {"127.0.0.1"} and len(set(ports)) == 1
    assert threads[0] == os.environ.get("OMP_NUM_THREADS", str(max(1, os.cpu_count() // 2)))


@pytest.mark.parametrize(("ends", "code"), [("exit 2", 2), ("kill -9 $$", 247)])
@pytest.mark.parametrize("who", ["chief", "worker-0"])
def test_one_that_fails_or_is_killed_ends_all(who, ends, code, tmp_path):
    started = time.monotonic()
    assert launched(tmp_path, f"if [ $KERASTUNER_TUNER_ID = {who} ]; then {ends}; fi; exec sleep 40")[0] == code
    assert time.monotonic() - started < 30


def test_a_launcher_that_is_told_to_end_leaves_nobody(tmp_path):
    script = 'own="$PLACE/$KERASTUNER_TUNER_ID"; echo $$ > "$own.new"; mv "$own.new" "$own"; exec sleep 40'
    launcher = subprocess.Popen(tool("sh", "-c", script), env={**os.environ, "PLACE": str(tmp_path)})
    files = [tmp_path / name for name in ("chief", "worker-0", "worker-1")]
    while not all(file.exists() for file in files):
        assert launcher.poll() is None
        time.sleep(0.05)
    launcher.terminate()
    assert launcher.wait(20) == 128 + signal.SIGTERM
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_mistakes_end_the_tool_before_anything_starts():
    for command in (tool("true", workers=0), tool("true", workers="two"), tool(), tool("no such program")):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "error: " in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "supernet": {**CONFIG["supernet"], "epochs": 1}}))
    return path


@pytest.mark.slow
def test_two_workers_leave_the_front_that_one_process_finds_also_after_an_interruption(config_file, tmp_path):
    from test_end_to_end import chatty

    from scarlet_tf import run as runs
    from scarlet_tf.config import load_config

    config, alone, shared = load_config(config_file), tmp_path / "alone", tmp_path / "shared"
    runs.run_stage("train-supernet", config, alone)
    shutil.copytree(alone, shared)
    runs.run_stage("search", config, alone)

    def scarlet(stage):
        return [sys.executable, "-m", "scarlet_tf", stage, str(config_file), "--run-dir", str(shared)]

    process = subprocess.Popen(tool(*scarlet("search")), stderr=subprocess.PIPE, text=True, env=chatty())
    try:
        for line in process.stderr:
            if line.startswith("search ") and "/12" in line:
                process.terminate()
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
    assert not (shared / "pareto.json").exists()
    done = subprocess.run(tool(*scarlet("search")), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (shared / "pareto.json").read_text() == (alone / "pareto.json").read_text()
    # The workers wrote nothing there: the chief's run.log has one search for each start.
    assert (shared / "run.log").read_text().count("[2/4] search") == 2
    done = subprocess.run(scarlet("run"), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert "search: done before" in done.stderr and (shared / "export/certificate.json").exists()
