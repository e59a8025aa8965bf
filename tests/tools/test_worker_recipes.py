"""The files of tools/workers: what each of them starts, with a `scarlet` that only notes how it was called."""

import json
import os
import pathlib
import subprocess

import pytest
import yaml

from scarlet_tf.base.cluster import SEARCH_VARIABLES, read_tf_config

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


def test_slurm_training(start, tmp_path):
    """Stand-ins for SLURM's commands: two nodes, whose tasks run one after another."""
    note = '#!/bin/sh\necho "$*" >> "$NOTES"\necho "$TF_CONFIG" >> "$NOTES"\nexit "${CODE:-0}"\n'
    srun = '#!/bin/sh\nshift\nfor SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@" || exit; done\n'
    for name, script in (("scarlet", note), ("scontrol", "#!/bin/sh\necho node7\necho node8\n"), ("srun", srun)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "1234567", "SLURM_JOB_NODELIST": "node[7-8]", "STAGE": "train-supernet"}
    code, notes = start(["bash", str(FOLDER / "train.sbatch")], **job)
    assert code == 0 and notes[::2] == [f"train-supernet my.yaml --run-dir {tmp_path}"] * 2
    assert [read_tf_config(text).own for text in notes[1::2]] == [("worker", 0), ("worker", 1)]
    assert json.loads(notes[1])["cluster"] == {"worker": ["node7:24567", "node8:24567"]}
    for failure, calls in (("2", 1), ("1", 5)):
        before = len(notes)
        code, notes = start(["bash", str(FOLDER / "train.sbatch")], **job, CODE=failure)
        assert (str(code), (len(notes) - before) / 2) == (failure, calls)


def test_kubernetes_training():
    service, job = yaml.safe_load_all((FOLDER / "train.yaml").read_text())
    name, pod, port = service["metadata"]["name"], job["spec"]["template"]["spec"], service["spec"]["ports"][0]["port"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}  # the label that a Job gives its pods
    assert pod["subdomain"] == name and job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    (container,) = pod["containers"]
    number, config = container["env"]  # in this order: a value may use those before it
    assert number["name"] == "NUMBER" and config["name"] == "TF_CONFIG"
    for index in range(2):
        text = config["value"].replace("$(NUMBER)", str(index))
        assert read_tf_config(text).own == ("worker", index)
        pods = [f"{job['metadata']['name']}-{i}.{name}:{port}" for i in range(2)]
        assert json.loads(text)["cluster"] == {"worker": pods}
