"""The launcher, with commands that take no time to start; test_search_processes.py has real searches."""

import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.search import processes
from scarlet_tf.search.processes import SearchCluster, Supervised, environment, reserved_address, thread_environment

HEAD = 'me="$KERASTUNER_TUNER_ID"; note() { echo "$1" >> "$PLACE/$me"; }; note started; '
CHIEF_ENDS = 'if [ $me = chief ]; then while ! test -e "$PLACE/over"; do sleep 0.05; done; exit 0; fi; '


def run(folder, script, workers=2, restarts=2, seconds=30):
    """(exit code, {process: lines that it noted}) of a cluster of shell scripts."""
    cluster = SearchCluster(
        ["sh", "-c", f"PLACE={folder}; {HEAD}{script}"], workers, ("127.0.0.1", 1), folder / "logs", restarts
    )
    codes = []
    thread = threading.Thread(target=lambda: codes.append(cluster.run()), daemon=True)
    thread.start()
    thread.join(seconds)
    for process in (cluster.chief, *cluster.workers):
        assert not process.is_running or process.stop(), "the cluster did not end"
    names = ("chief", *(f"worker-{i}" for i in range(workers)))
    return codes[0], {n: (folder / n).read_text().splitlines() if (folder / n).exists() else [] for n in names}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(processes, "LONGEST_PAUSE", 0.1)


def test_everything_ends_with_the_chief(tmp_path):
    code, noted = run(tmp_path, 'if [ $me = chief ]; then exit 0; fi; touch "$PLACE/over"; exit 0')
    assert code == 0 and noted["chief"] == ["started"]


def test_a_worker_that_dies_is_started_again_under_its_name(tmp_path, caplog):
    script = CHIEF_ENDS + 'if mkdir "$PLACE/once" 2>/dev/null; then kill -9 $$; fi; sleep 0.5; touch "$PLACE/over"'
    code, noted = run(tmp_path, script, workers=1)
    assert code == 0 and noted["worker-0"] == ["started"] * 2
    assert "worker-0 was ended by SIGKILL; it is started again" in caplog.text


FAILS = 'if [ $me = worker-0 ]; then echo "out of luck" >&2; exit 1; fi; '
HEARS = 'if [ $me = chief ]; then read line; note "lost $line"; touch "$PLACE/over"; exit 0; fi; '


def test_a_worker_that_always_fails_is_given_up_and_the_chief_hears_of_it(tmp_path, caplog):
    waits = 'while ! test -e "$PLACE/over"; do sleep 0.05; done; exit 0'
    code, noted = run(tmp_path, FAILS + HEARS + waits, workers=2, restarts=2)
    assert code == 0 and noted["chief"] == ["started", "lost worker-0"]
    assert noted["worker-0"] == ["started"] * 3 and noted["worker-1"] == ["started"]
    assert (
        "worker-0 is given up: it ended with exit code 1" in caplog.text and "worker-0.log: out of luck" in caplog.text
    )


def test_without_a_worker_left_all_ends_with_the_name_of_a_log(tmp_path, caplog):
    code, noted = run(tmp_path, FAILS + "sleep 30", workers=1, restarts=1)
    assert code == 1 and noted["worker-0"] == ["started"] * 2
    assert "no worker is left; the last one's log: " in caplog.text and "worker-0.log: out of luck" in caplog.text


def test_a_chief_that_is_killed_comes_back_with_the_workers_that_had_left(tmp_path):
    script = 'if [ $me = chief ]; then if mkdir "$PLACE/once" 2>/dev/null; then sleep 0.5; kill -9 $$; fi; '
    script += 'while [ "$(wc -l < $PLACE/worker-0)" -lt 2 ]; do sleep 0.05; done; exit 0; fi; exit 0'
    code, noted = run(tmp_path, script, workers=1)
    assert code == 0 and noted == {"chief": ["started"] * 2, "worker-0": ["started"] * 2}


def test_a_chief_that_is_always_killed_is_given_up(tmp_path):
    code, noted = run(tmp_path, "if [ $me = chief ]; then kill -9 $$; fi; sleep 30", restarts=2)
    assert code == 1 and len(noted["chief"]) == 3


@pytest.mark.parametrize("code", [1, 2])
def test_what_a_chief_says_itself_ends_all(tmp_path, code):
    ended, noted = run(tmp_path, f"if [ $me = chief ]; then exit {code}; fi; sleep 30")
    assert ended == code and noted["chief"] == ["started"]


def test_bad_input_of_a_worker_ends_all(tmp_path, caplog):
    code, _ = run(tmp_path, "if [ $me = worker-1 ]; then echo 'error: seed: expected 0' >&2; exit 2; fi; sleep 30")
    assert code == 2
    assert "worker-1 ended with bad input" in caplog.text and "error: seed: expected 0" in caplog.text


def test_without_local_workers_the_chief_waits_for_others(tmp_path):
    code, noted = run(tmp_path, "sleep 0.5; exit 0", workers=0)
    assert code == 0 and noted == {"chief": ["started"]}
    with pytest.raises(InputError, match="workers: expected an integer >= 0, got -1"):
        SearchCluster(["true"], -1, ("127.0.0.1", 1), tmp_path)


MEMBER = """
import os, time
from scarlet_tf.search.processes import follow_launcher
follow_launcher(print)
path = os.path.join({folder!r}, os.environ["KERASTUNER_TUNER_ID"])
with open(path + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(path + ".new", path)
time.sleep(60)
"""
LAUNCHER = """
import sys
from scarlet_tf.search.processes import SearchCluster
sys.exit(SearchCluster([sys.executable, "-c", {member!r}], 2, ("127.0.0.1", 1), {folder!r} + "/logs").run())
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_launcher(tmp_path, end):
    folder = str(tmp_path)
    script = LAUNCHER.format(member=MEMBER.format(folder=folder), folder=folder)
    launcher = subprocess.Popen([sys.executable, "-c", script], preexec_fn=default_interrupt)
    names = ("chief", "worker-0", "worker-1")
    try:
        wait_for(lambda: all((tmp_path / name).exists() for name in names))
        pids = [int((tmp_path / name).read_text()) for name in names]
        launcher.send_signal(end)
        code = launcher.wait(20)
        assert code == {signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT, signal.SIGKILL: -signal.SIGKILL}[end]
        wait_for(lambda: not any(alive(pid) for pid in pids))
    finally:
        launcher.kill()
        launcher.wait()


def default_interrupt():
    """Background jobs may start with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def alive(pid):
    """Whether the process runs; one that ended and that nobody has asked after does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_restarts_come_later_each_time_and_a_steady_process_begins_anew(monkeypatch):
    monkeypatch.setattr(processes, "LONGEST_PAUSE", 4.0)
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    process = Supervised("worker-0", ["true"], {}, restarts=4)

    def end():
        process.tick()
        process._process.wait()
        now[0] += lived
        assert process.tick() == 0

    pauses, lived = [], 0.0
    end()
    while process.start_again():
        pauses.append(process._due - now[0])
        now[0] = process._due
        end()
    assert pauses == [1, 2, 4, 4]
    lived = 601.0
    process._row, process._due = 3, now[0]
    end()
    assert process.start_again() and process._due - now[0] == 1


def test_a_stubborn_process_is_ended_by_force():
    process = Supervised("worker-0", ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], {})
    process.tick()
    time.sleep(0.3)
    process.stop(seconds=0.3)
    assert not process.is_running


def test_a_reserved_port_is_kept_and_a_taken_one_refused():
    with reserved_address() as (host, port):
        assert host == "127.0.0.1" and port > 0
        with socket.socket() as other, pytest.raises(OSError):
            other.bind((host, port))
        with pytest.raises(OSError):  # reserved, but nobody listens yet
            socket.create_connection((host, port), timeout=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(InputError, match=f"127.0.0.1:{port}: expected a free address and port"),
            reserved_address(port=port),
        ):
            pass
    for host, port in (("192.0.2.1", 0), ("127.0.0.1", 70000)):
        with pytest.raises(InputError, match=f"{host}:{port}: expected a free"), reserved_address(host, port):
            pass


def test_workers_share_the_cores_and_know_their_chief(monkeypatch):
    monkeypatch.setattr(processes, "_cores", lambda: 16)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert set(thread_environment(5).values()) == {"3"} and set(thread_environment(40).values()) == {"1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert thread_environment(4)["OMP_NUM_THREADS"] == "7"
    cluster = SearchCluster(["true"], 1, ("0.0.0.0", 5), "logs")
    assert cluster.chief._environment["KERASTUNER_ORACLE_IP"] == "0.0.0.0"
    assert environment("worker-0", "127.0.0.1", 5).items() <= cluster.workers[0]._environment.items()
