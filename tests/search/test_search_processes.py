"""Searches of a formula with real chiefs and workers, some of which are killed, fail or answer too late."""

import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import cluster_member
import pytest

from local_cluster import free_port, variables
from scarlet_tf.search.run import search

HERE = pathlib.Path(__file__).parent
SECONDS = 150  # that a search may take, on a busy machine


class Processes:
    """A chief and workers, and what starts them again: each that is killed, and each worker that fails, `restarts` times."""

    def __init__(self, folder, plan, workers, restarts=3, **settings):
        self.folder, self.plan, self.settings, self.port = folder, plan, settings, free_port()
        names = ("chief", *(f"worker-{i}" for i in range(workers)))
        self._restarts = dict.fromkeys(names, restarts)
        self.running = {name: self.start(name) for name in names}

    def start(self, name, **settings):
        """A new process of that name, whose output is in a file."""
        texts = [f"{key}={json.dumps(value)}" for key, value in {**self.settings, **settings}.items()]
        command = [sys.executable, "-c", cluster_member.START, str(self.folder), json.dumps(self.plan), *texts]
        # They start sooner without TensorFlow.
        own = {"PYTHONPATH": f"{HERE}:{HERE.parent.parent}", "KERAS_BACKEND": "numpy"}
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(command, env=os.environ | own | variables(name, self.port), stdout=log, stderr=log)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def look(self):
        """Start again what has ended; the chief's exit code once it has ended by itself."""
        chief = self.running["chief"].poll()
        if chief is not None and chief >= 0:
            return chief
        for name, process in self.running.items():
            if process.poll() and self._restarts.get(name):
                self._restarts[name] -= 1
                self.running[name] = self.start(name)
        return None

    def wait_for(self, condition):
        deadline = time.monotonic() + SECONDS
        while not condition():
            self.look()
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.1)

    def end(self):
        """The chief's exit code at the end of the search."""
        self.wait_for(lambda: self.look() is not None)
        return self.look()

    def stop(self):
        for process in self.running.values():
            process.kill()
            process.wait()


@pytest.fixture
def start():
    """start(...) -> Processes, of which none is left when the test ends."""
    with contextlib.ExitStack() as stack:

        def begin(*arguments, **options):
            processes = Processes(*arguments, **options)
            stack.callback(processes.stop)
            return processes

        yield begin


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
    processes = start(tmp_path, plan, 2)
    assert processes.end() == 0
    assert (tmp_path / "chief.killed").exists() and (tmp_path / "worker-1.killed").exists()
    assert_same_search(tmp_path, alone)
    groups = [line.split() for line in (tmp_path / "groups.txt").read_text().splitlines()]
    # Who gets how much depends on who asks first; somebody gets more than one at once.
    assert any(int(size) > 1 for _, size in groups)
    log = processes.log("worker-0")
    assert "RuntimeError: no memory left" in log and "Traceback" in log
    # The one that was killed began with the trial that it had in hand: the chief was there, and is killed later.
    own = evaluations(tmp_path, "worker-1")
    killed = own.index((2, own[1][1]))
    assert own[killed + 1] == (1, own[killed][1])


@pytest.mark.slow
def test_processes_killed_at_twenty_random_moments_lose_nothing_and_count_nothing_twice(tmp_path, start):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    for folder in (alone, shared):
        folder.mkdir()
    search_alone(alone, generations=12)
    total, rng = len(trials(alone)), random.Random(0)
    plan = {f"worker-{i}": {"every": "slow 0.2"} for i in range(2)}
    journal = shared / "search" / "trials.jsonl"
    processes = start(shared, plan, 2, restarts=99, generations=12)
    for moment in range(20):
        processes.wait_for(lambda n=moment: journal.exists() and journal.read_text().count("\n") > n * total / 20)
        time.sleep(rng.uniform(0, 0.4))
        victim = rng.choice(list(processes.running))
        processes.wait_for(lambda name=victim: processes.running[name].poll() is None)
        processes.running[victim].kill()
    assert processes.end() == 0
    assert_same_search(shared, alone)


@pytest.mark.slow
def test_lost_and_late_workers_and_strangers_change_nothing(tmp_path, alone, start):
    """worker-1 dies for good; `guest` answers after its trial was given to another; `stranger` has another seed."""
    plan = {
        "worker-0": {"1": "wait guest.began", "9": "wait go-on"},
        "worker-1": {"every": "die"},
        "guest": {"1": "wait release", "2": "wait go-on"},
    }
    processes = start(tmp_path, plan, 2, restarts=1, stale_trial_minutes=0.05)
    processes.running["guest"] = guest = processes.start("guest")
    processes.running["stranger"] = stranger = processes.start("stranger", seed=1)
    assert stranger.wait(SECONDS) == 2
    complaint = processes.log("stranger")
    assert "at work on another search: context: expected" in complaint and "'seed': 1" in complaint
    assert not evaluations(tmp_path, "stranger")
    processes.wait_for(lambda: taken_over(tmp_path))
    (tmp_path / "release").touch()
    processes.wait_for(lambda: len(evaluations(tmp_path, "guest")) == len(evaluations(tmp_path, "worker-1")) == 2)
    (tmp_path / "go-on").touch()
    assert processes.end() == 0
    assert guest.wait(SECONDS) == 0
    assert len(evaluations(tmp_path, "worker-1")) == 2
    assert_same_search(tmp_path, alone)


def taken_over(folder):
    """Whether another worker has evaluated the guest's first architecture."""
    mine = evaluations(folder, "guest")
    return bool(mine) and mine[0][1] in [choices for _, choices in evaluations(folder, "worker-0")]


def test_failures_in_a_row_end_all_with_the_reason_and_the_next_start_goes_on(tmp_path, alone, start):
    processes = start(tmp_path, {"worker-0": {"every": "fail"}}, 1)
    assert processes.end() == 1
    complaint = processes.log("chief")
    assert "3 trials in a row failed" in complaint and "RuntimeError: no memory left" in complaint
    assert len(evaluations(tmp_path, "worker-0")) == 6
    search_alone(tmp_path)  # once the cause is gone, with workers or without
    assert_same_search(tmp_path, alone)
