"""The files of tools/workers: what each of them starts, with a `scarlet` that only notes how it was called."""

import os
import pathlib
import subprocess

import pytest
import yaml

from scarlet_tf.base.cluster import SEARCH_VARIABLES

FOLDER = pathlib.Path(__file__).parents[2] / "tools" / "workers"
NOTE = f'#!/bin/sh\necho "$*" {" ".join(f"${name}" for name in SEARCH_VARIABLES)} >> "$NOTES"\nexit "${{CODE:-0}}"\n'


@pytest.fixture
def start(tmp_path):
    """start(command, variables...) -> (exit code, lines that the stand-ins for scarlet noted so far)."""
    for name, script in (("scarlet", NOTE), ("hostname", "#!/bin/sh\necho node7\n")):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)

    def run(command, **variables):
        own = {"NOTES": str(tmp_path / "notes"), "CONFIG": "my.yaml", "RUN_DIR": str(tmp_path)}
        environment = os.environ | own | variables | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        code = subprocess.run(command, env=environment, timeout=60).returncode
        return code, (tmp_path / "notes").read_text().splitlines()

    return run


def test_procfile(start, tmp_path):
    lines = dict(line.split(": ", 1) for line in (FOLDER / "Procfile").read_text().splitlines())
    for command in lines.values():
        _, notes = start(["sh", "-c", command], PORT="5100")
    called = f"search my.yaml --run-dir {tmp_path}"
    assert notes == [f"{called} chief 127.0.0.1 8300", f"{called} worker-5100 127.0.0.1 8300"]


def test_slurm_array(start, tmp_path):
    script = ["bash", str(FOLDER / "search.sbatch")]
    for task in "03":
        code, notes = start(script, SLURM_ARRAY_JOB_ID="1234567", SLURM_ARRAY_TASK_ID=task)
        assert code == 0
    called = f"search my.yaml --run-dir {tmp_path}"
    assert notes == [f"{called} chief node7 24567", f"{called} worker-3 node7 24567"]
    for failure, calls in (("2", 1), ("1", 5)):
        before = len(notes)
        code, notes = start(script, SLURM_ARRAY_JOB_ID="1234567", SLURM_ARRAY_TASK_ID="3", CODE=failure)
        assert (str(code), len(notes) - before) == (failure, calls)


def test_kubernetes():
    service, chief, workers = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    assert [part["kind"] for part in (service, chief, workers)] == ["Service", "Job", "Job"]
    assert service["spec"]["selector"] == chief["spec"]["template"]["metadata"]["labels"]
    port = str(service["spec"]["ports"][0]["port"])
    found = []
    for job in (chief, workers):
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["command"][:2] == ["scarlet", "search"] and pod["restartPolicy"] == "OnFailure"
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        values = {entry["name"]: entry.get("value") for entry in container["env"]}
        found.append([values[name] for name in SEARCH_VARIABLES])
    name = service["metadata"]["name"]
    assert found == [["chief", "0.0.0.0", port], ["worker-$(NUMBER)", name, port]]
    assert workers["spec"]["completionMode"] == "Indexed"
