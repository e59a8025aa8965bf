"""Searches of a formula with real chiefs and workers, some of which are killed, fail or answer too late."""

import json
import pathlib
import random
import subprocess
import sys
import threading
import time

import cluster_member
import pytest

from scarlet_tf.search import processes
from scarlet_tf.search.processes import SearchCluster, environment, reserved_address
from scarlet_tf.search.run import search

HERE = pathlib.Path(__file__).parent
SECONDS = 150  # that a cluster may take, on a busy machine


def command(folder, plan, **settings):
    texts = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return [sys.executable, "-c", cluster_member.START, str(folder), json.dumps(plan), *texts]


@pytest.fixture
def start(monkeypatch):
    """start(cluster) -> a thread that runs it; whatever is left of it when the test ends is killed."""
    root = HERE.parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{root}")
    monkeypatch.setenv("KERAS_BACKEND", "numpy")  # of the processes: they start sooner without TensorFlow
    clusters = []

    def start_cluster(cluster):
        codes = []
        thread = threading.Thread(target=lambda: codes.append(cluster.run()), daemon=True)
        thread.codes = codes
        clusters.append(cluster)
        thread.start()
        return thread

    yield start_cluster
    for cluster in clusters:
        for process in (cluster.chief, *cluster.workers):
            process.stop(0)


def end(thread):
    """The cluster's exit code."""
    thread.join(SECONDS)
    assert thread.codes, "the cluster did not end"
    return thread.codes[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the same search in one process."""
    folder = tmp_path_factory.mktemp("alone")
    search_alone(folder)
    return folder


def search_alone(folder, **settings):
    evaluator = cluster_member.Evaluator(folder, {})
    search(cluster_member.SUPERNET, None, cluster_member.CONFIG | settings, folder, evaluator=evaluator)


def assert_same_search(folder, alone):
    """Equal fronts, and every trial once, with the same result."""
    assert (folder / "pareto.json").read_text() == (alone / "pareto.json").read_text()
    assert trials(folder) == trials(alone)


def trials(folder):
    lines = [json.loads(line) for line in (folder / "search/trials.jsonl").read_text().splitlines()[1:]]
    return sorted((line["trial"], line["architecture"], line["status"], line["metrics"]["accuracy"]) for line in lines)


def evaluations(folder, tuner_id):
    path = folder / "evaluations.txt"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(int(count), choices) for who, count, choices in lines if who == tuner_id]


def test_killed_failing_and_silly_processes_leave_no_trace_in_the_result(tmp_path, alone, start):
    plan = {
        "worker-0": {
            "1": "wait worker-1.began",
            "3": "fail",
            "4": "wait worker-1.back",
            "5": "kill chief",
            "8": "nan",
        },
        # Slow, so that the other one comes to its fifth evaluation before all is done.
        "worker-1": {"1": "wait worker-0.began", "2": "kill worker-1", "every": "slow 0.2"},
    }
    with reserved_address() as address:
        cluster = SearchCluster(command(tmp_path, plan), 2, address, tmp_path / "logs")
        assert end(start(cluster)) == 0
    assert (tmp_path / "chief.killed").exists() and (tmp_path / "worker-1.killed").exists()
    assert_same_search(tmp_path, alone)
    groups = [line.split() for line in (tmp_path / "groups.txt").read_text().splitlines()]
    # Who gets how much depends on who asks first; somebody gets more than one at once.
    assert any(int(size) > 1 for _, size in groups)
    log = (tmp_path / "logs/worker-0.log").read_text()
    assert "RuntimeError: no memory left" in log and "Traceback" in log
    # The one that was killed began with the trial that it had in hand: the chief was there, and is killed later.
    own = evaluations(tmp_path, "worker-1")
    killed = own.index((2, own[1][1]))
    assert own[killed + 1] == (1, own[killed][1])


@pytest.mark.slow
def test_processes_killed_at_twenty_random_moments_lose_nothing_and_count_nothing_twice(tmp_path, start, monkeypatch):
    monkeypatch.setattr(processes, "LONGEST_PAUSE", 0.2)
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    for folder in (alone, shared):
        folder.mkdir()
    search_alone(alone, generations=12)
    total, rng = len(trials(alone)), random.Random(0)
    plan = {f"worker-{i}": {"every": "slow 0.2"} for i in range(2)}
    journal = shared / "search" / "trials.jsonl"
    with reserved_address() as address:
        cluster = SearchCluster(command(shared, plan, generations=12), 2, address, tmp_path / "logs", restarts=99)
        thread = start(cluster)
        for moment in range(20):
            wait_for(lambda n=moment: journal.exists() and journal.read_text().count("\n") > n * total / 20)
            time.sleep(rng.uniform(0, 0.4))
            victim = rng.choice([cluster.chief, *cluster.workers])
            wait_for(lambda process=victim: process.is_running)
            victim._process.kill()
        assert end(thread) == 0
    assert_same_search(shared, alone)


@pytest.mark.slow
def test_lost_and_late_workers_and_strangers_change_nothing(tmp_path, alone, start):
    """worker-1 dies for good; `guest` answers after its trial was given to another; `stranger` has another seed."""
    plan = {
        "worker-0": {"1": "wait guest.began", "9": "wait go-on"},
        "worker-1": {"every": "die"},
        "guest": {"1": "wait release", "2": "wait go-on"},
    }
    with reserved_address() as address:
        cluster = SearchCluster(
            command(tmp_path, plan, stale_trial_minutes=0.05), 2, address, tmp_path / "logs", restarts=1
        )
        thread = start(cluster)
        variables = {**cluster.chief._environment, "SCARLET_LAUNCHER": ""}
        guest, stranger = (
            subprocess.Popen(
                command(tmp_path, plan, **settings),
                env=variables | environment(name, *address),
                stderr=subprocess.PIPE,
                text=True,
            )
            for name, settings in (("guest", {}), ("stranger", {"seed": 1}))
        )
        try:
            _, complaint = stranger.communicate(timeout=SECONDS)
            assert stranger.returncode == 2
            assert "at work on another search: context: expected" in complaint and "'seed': 1" in complaint
            assert not evaluations(tmp_path, "stranger")
            wait_for(lambda: taken_over(tmp_path))
            (tmp_path / "release").touch()
            wait_for(lambda: len(evaluations(tmp_path, "guest")) == len(evaluations(tmp_path, "worker-1")) == 2)
            (tmp_path / "go-on").touch()
            assert end(thread) == 0
            assert guest.wait(SECONDS) == 0
        finally:
            for process in (guest, stranger):
                process.kill()
                process.communicate()
    assert len(evaluations(tmp_path, "worker-1")) == 2
    assert_same_search(tmp_path, alone)


def taken_over(folder):
    """Whether another worker has evaluated the guest's first architecture."""
    mine = evaluations(folder, "guest")
    return bool(mine) and mine[0][1] in [choices for _, choices in evaluations(folder, "worker-0")]


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def test_failures_in_a_row_end_all_with_the_reason_and_the_next_start_goes_on(tmp_path, alone, start, capfd):
    plan = {"worker-0": {"every": "fail"}}
    with reserved_address() as address:
        assert end(start(SearchCluster(command(tmp_path, plan), 1, address, tmp_path / "logs"))) == 1
        complaint = capfd.readouterr().err
        assert "3 trials in a row failed" in complaint and "RuntimeError: no memory left" in complaint
        assert len(evaluations(tmp_path, "worker-0")) == 6
    search_alone(tmp_path)  # once the cause is gone, with workers or without
    assert_same_search(tmp_path, alone)
