import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import filelock
import pytest

from local_cluster import variables
from scarlet_tf.base import cluster as module
from scarlet_tf.base.cluster import (
    Cluster,
    is_loopback,
    is_writer,
    read_tf_config,
    search_address,
    search_role,
    share,
    wait_for,
)
from scarlet_tf.base.errors import InputError

WORKERS = {"worker": ["a:1", "b:2"]}


def text(cluster=WORKERS, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize("nothing", ["", "  ", "{}", '{"cluster": {}}'])
def test_without_a_cluster_a_process_is_its_own_chief(nothing, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", nothing)
    assert read_tf_config() == Cluster() and Cluster().is_chief


def test_worker_0_is_the_chief_unless_there_is_one():
    assert [read_tf_config(text(index=i)).is_chief for i in (0, 1)] == [True, False]
    cluster = {"chief": ["c:3"], **WORKERS}
    assert read_tf_config(text(cluster, "chief")).is_chief
    assert not read_tf_config(text(cluster, "worker", 0)).is_chief
    assert len(read_tf_config(text(cluster)).tasks) == 3


@pytest.mark.parametrize(
    "bad, message",
    [
        ("{not json", "expected JSON such as"),
        ("[1]", "expected an object"),
        (text({"ps": ["a:1"]}), "expected the task types chief and worker, got 'ps'"),
        (text({"worker": "a:1"}), "cluster.worker: expected a list"),
        (text({"worker": []}), "cluster.worker: expected a list"),
        (text({"worker": ["a"]}), "cluster.worker: expected a list"),
        (text({"chief": ["a:1", "b:2"]}, "chief"), "cluster.chief: expected a list of one"),
        (text(kind="chief"), "task.type: expected one of \\['worker'\\], got 'chief'"),
        (text(index=2), "task.index: expected an integer from 0 to 1, got 2"),
        (text(index=True), "task.index"),
        (json.dumps({"cluster": WORKERS}), "task.type"),
    ],
)
def test_what_is_wrong_is_named(bad, message):
    with pytest.raises(InputError, match=message) as error:
        read_tf_config(bad)
    assert str(error.value).startswith("TF_CONFIG")


SEARCH = {"KERASTUNER_TUNER_ID": "worker-0", "KERASTUNER_ORACLE_IP": "10.0.0.1", "KERASTUNER_ORACLE_PORT": "4000"}


def set_search(monkeypatch, **changes):
    for name, value in {**SEARCH, **changes}.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)


def test_kerastuners_variables_tell_a_searchs_chief_from_its_workers(monkeypatch):
    set_search(monkeypatch, KERASTUNER_ORACLE_IP=None)
    assert search_role() == "alone" and is_writer("search")
    set_search(monkeypatch)
    assert search_role() == "worker" and search_address() == ("10.0.0.1", 4000)
    assert not is_writer("search") and is_writer("retrain")
    set_search(monkeypatch, KERASTUNER_TUNER_ID="chief")
    assert search_role() == "chief" and is_writer("search")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"KERASTUNER_TUNER_ID": None}, "KERASTUNER_TUNER_ID: expected a value"),
        ({"KERASTUNER_ORACLE_PORT": ""}, "KERASTUNER_ORACLE_PORT: expected a value"),
        ({"KERASTUNER_ORACLE_PORT": "http"}, "KERASTUNER_ORACLE_PORT: expected a port from 1 to 65535, got 'http'"),
        ({"KERASTUNER_ORACLE_PORT": "65536"}, "KERASTUNER_ORACLE_PORT: expected a port"),
    ],
)
def test_half_a_search_cluster_is_refused(changes, message, monkeypatch):
    set_search(monkeypatch, **changes)
    with pytest.raises(InputError, match=message):
        search_role()


def test_loopback_addresses_are_known():
    hosts = ("127.0.0.1", "127.1.2.3", "localhost", "0.0.0.0", "10.0.0.1", "host")
    assert [is_loopback(host) for host in hosts] == [True] * 3 + [False] * 3


MEMBER = """
import os, pathlib, sys, time
from scarlet_tf.base import cluster
folder, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
cluster.PAUSE_SECONDS = 0.05
def do(job):
    who = os.environ.get("KERASTUNER_TUNER_ID", "alone")
    with open(folder / "begun.txt", "a") as file:
        file.write(f"{job} {who}\\n")
    time.sleep(seconds)
    (folder / f"{job}.done").write_text(who)
cluster.share(range(8), lambda job: folder / str(job), lambda job: (folder / f"{job}.done").exists(), do)
"""


def start_member(folder, name=None, seconds=0.0):
    """A process that shares eight jobs, which take so long each."""
    own = {"PYTHONPATH": str(pathlib.Path(__file__).parent.parent)} | (variables(name, 8300) if name else {})
    return subprocess.Popen([sys.executable, "-c", MEMBER, str(folder), str(seconds)], env=os.environ | own)


def begun(folder):
    path = folder / "begun.txt"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_process_does_all_jobs_in_order(tmp_path):
    assert start_member(tmp_path).wait(60) == 0
    assert begun(tmp_path) == [[str(job), "alone"] for job in range(8)]


def test_one_process_leaves_to_a_worker_what_that_has_in_hand(tmp_path):
    """The worker's chief was killed, and somebody runs the command alone."""
    worker = start_member(tmp_path, "worker-0", seconds=2)
    wait_until(lambda: begun(tmp_path))
    assert start_member(tmp_path).wait(60) == 0 and worker.wait(60) == 0
    assert sorted(int(job) for job, _ in begun(tmp_path)) == list(range(8))
    assert begun(tmp_path)[0] == ["0", "worker-0"] and (tmp_path / "0.done").read_text() == "worker-0"


def test_workers_do_each_job_once_and_what_a_killed_one_had_in_hand_again(tmp_path):
    chief = start_member(tmp_path, "chief")
    lost = start_member(tmp_path, "worker-0", seconds=60)
    wait_until(lambda: begun(tmp_path))
    workers = [start_member(tmp_path, f"worker-{i}", seconds=0.1) for i in (1, 2)]
    wait_until(lambda: len(begun(tmp_path)) >= 4)
    assert chief.poll() is None
    lost.send_signal(signal.SIGKILL)
    lost.wait()
    assert [process.wait(60) for process in (*workers, chief)] == [0, 0, 0]
    done = {job: (tmp_path / f"{job}.done").read_text() for job in range(8)}
    assert set(done.values()) <= {"worker-1", "worker-2"}
    [again] = [job for job, who in begun(tmp_path) if who == "worker-0"]
    assert sorted(job for job, who in begun(tmp_path) if who != "worker-0") == sorted(map(str, range(8)))
    assert done[int(again)] != "worker-0"


def test_a_workers_error_is_its_chiefs_unless_a_worker_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.2)
    places, done = {"a": tmp_path / "a", "b": tmp_path / "b"}, set()

    def broken(job):
        raise InputError("the loss is not finite")

    def shared(name, do):
        set_search(monkeypatch, KERASTUNER_TUNER_ID=name)
        share(list(places), places.get, done.__contains__, do)

    for do in (broken, broken):  # a second worker's error is no other than the first one's
        with pytest.raises(InputError, match=r"^the loss is not finite$"):
            shared("worker-0", do)
    assert [(place / module.FAILED).exists() for place in places.values()] == [True, False]
    with pytest.raises(InputError, match=r"^a worker ended with an error: the loss is not finite$"):
        shared("chief", pytest.fail)
    shared("worker-0", done.add)
    assert done == {"a", "b"} and not (tmp_path / "a" / module.FAILED).exists()
    shared("chief", pytest.fail)


def test_a_worker_needs_locks(tmp_path, monkeypatch):
    def refuse(descriptor, blocking):
        raise OSError("no locks available")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    set_search(monkeypatch, KERASTUNER_TUNER_ID="worker-0")
    with pytest.raises(InputError, match=f"{tmp_path}/1: expected a file system with locks, which has none"):
        share([1], lambda job: tmp_path / str(job), lambda job: False, pytest.fail)


def test_a_worker_whose_chief_does_not_come_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    with pytest.raises(InputError, match=r"entrants\.json: expected from the chief within 0 s"):
        wait_for(tmp_path / "entrants.json")
