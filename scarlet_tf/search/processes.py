"""A search's chief and its local workers as processes: started, watched, started again, and ended together."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from scarlet_tf.base import streams
from scarlet_tf.base.cluster import SEARCH_VARIABLES
from scarlet_tf.base.errors import InputError

logger = logging.getLogger("scarlet_tf")
LAUNCHER = "SCARLET_LAUNCHER"  # "stdin" in a process whose standard input is the launcher's pipe
BAD_INPUT = 2  # exit code of a command that would fail again
POLL_SECONDS = 0.1
FAREWELL_SECONDS = 10.0
LONGEST_PAUSE = 30.0  # seconds before a restart; the first is after one second, each further one takes twice as long
STEADY_SECONDS = 600.0  # a process that lived this long begins a new row of restarts
ANY_ADDRESS = "0.0.0.0"


class SearchCluster:
    """Runs one command as the chief and as `workers` workers of a search, told apart by KerasTuner's variables.

    A chief or worker that dies is started again under its id, a worker also when it fails; after `restarts` in a row a
    worker is given up and the chief told, which hands its trial to another one. Bad input (exit code 2) and a chief
    that fails end all. When this process ends, however, all others do.

    Args:
        command: with arguments. It has to evaluate trials with a SupernetTuner.
        workers: how many to start here, named worker-0, worker-1, ...; 0 leaves all work to other hosts.
        address: (host, port) of the chief's service, see `reserved_address`.
        log_folder: for the workers' output, a file each; the chief shares this process' own.
    """

    def __init__(self, command: Sequence[str], workers: int, address: tuple[str, int], log_folder, restarts: int = 5):
        if workers < 0:
            raise InputError(f"workers: expected an integer >= 0, got {workers!r}")
        folder, (host, port) = pathlib.Path(log_folder), address
        self.chief = Supervised("chief", command, environment("chief", host, port), restarts=restarts)
        reachable = "127.0.0.1" if host == ANY_ADDRESS else host
        threads = thread_environment(workers)
        self.workers = [
            Supervised(name, command, threads | environment(name, reachable, port), folder / f"{name}.log", restarts)
            for name in (f"worker-{index}" for index in range(workers))
        ]
        self._given_up: list[Supervised] = []

    def run(self) -> int:
        """Runs the search to its end; returns 0, or the exit code of the process that ended it."""
        try:
            with _sigterm_as_exit():
                code = self._watch()
                if code == 0:
                    self._let_workers_leave()
                return code
        finally:
            for process in (self.chief, *self.workers):
                process.stop()

    def _watch(self) -> int:
        while True:
            code = self.chief.tick()
            if code is not None and not self._chief_goes_on(code):
                return code if code >= 0 else 1
            for worker in self.workers:
                code = worker.tick()
                if code == BAD_INPUT:
                    logger.error("%s ended with bad input: %s", worker.name, worker.last_words())
                    return BAD_INPUT
                if code and not worker.start_again():
                    self._give_up(worker, code)
            if self.workers and len(self._given_up) == len(self.workers):
                logger.error("no worker is left; the last one's log: %s", self._given_up[-1].last_words())
                return 1
            time.sleep(POLL_SECONDS)

    def _chief_goes_on(self, code: int) -> bool:
        """True if a chief that has ended is started again: only if it was killed, since its own errors are final."""
        if code >= 0 or not self.chief.start_again():
            return False
        for worker in self.workers:
            if worker.code == 0:  # it heard of an end that the chief did not live to see
                worker.start_again()
        return True

    def _give_up(self, worker: Supervised, code: int) -> None:
        logger.error("%s is given up: it %s; %s", worker.name, describe(code), worker.last_words())
        self._given_up.append(worker)
        self.chief.send(worker.name)

    def _let_workers_leave(self) -> None:
        """Gives them the time to hear of the end themselves."""
        deadline = time.monotonic() + FAREWELL_SECONDS
        while any(worker.is_running for worker in self.workers) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def environment(tuner_id: str, host: str, port: int) -> dict[str, str]:
    """KerasTuner's variables for one process of a search."""
    return dict(zip(SEARCH_VARIABLES, (tuner_id, host, str(port)), strict=True))


def thread_environment(workers: int) -> dict[str, str]:
    """Variables that give each of `workers` processes its share of this machine's cores; those already set stay."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    share = max(1, _cores() // max(1, workers))
    return {name: os.environ.get(name, str(share)) for name in names}


@contextlib.contextmanager
def reserved_address(host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """(host, port) for a chief's service, kept from other programs while a killed chief is away; port 0: a free one.

    Raises InputError when the port is taken.
    """
    with socket.socket() as held:
        try:
            with socket.create_server((host, port)) as probe:  # notices another program that listens there
                port = probe.getsockname()[1]
            if hasattr(socket, "SO_REUSEPORT"):
                # gRPC sets this option on its own socket, so that both may have the port; this one never listens.
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                held.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{host}:{port}: expected a free address and port of this machine: {reason}") from error
        yield host, port


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """SIGTERM ends the block as an exception does, so that it cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Supervised:
    """One process of a job, which ends when this one does.

    `code`: of the last process that ended, negative when a signal ended it; None while one runs or is about to.

    Args:
        name: in log lines.
        command, environment: of the process; the environment's values are added to this process' own.
        log: a file that takes its standard output and error, appended; None: they are this process' own.
        restarts: how often in a row it is started again.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log=None, restarts: int = 5):
        self.name, self.log = name, None if log is None else pathlib.Path(log)
        self.code: int | None = None
        self._command, self._environment = list(command), {**os.environ, **environment, LAUNCHER: "stdin"}
        self._restarts, self._row = restarts, 0
        self._process: subprocess.Popen | None = None
        self._began = 0.0
        self._due: float | None = time.monotonic()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tick(self) -> int | None:
        """Starts the process where that is due; returns its exit code once when it has ended."""
        now = time.monotonic()
        if self._process is None:
            if self._due is not None and now >= self._due:
                self._start(now)
            return None
        code = self._process.poll()
        if code is not None:
            self._forget()
            self.code = code
            self._row = 0 if now - self._began > STEADY_SECONDS else self._row
        return code

    def start_again(self) -> bool:
        """Start an ended process again after a pause; False if that was done too often in a row, or none has ended."""
        if self.code is None or self._row >= self._restarts:
            return False
        pause = min(2.0**self._row, LONGEST_PAUSE)
        self._row += 1
        logger.warning("%s %s; it is started again in %g s", self.name, describe(self.code), pause)
        self._due, self.code = time.monotonic() + pause, None
        return True

    def send(self, line: str) -> None:
        """Writes a line to the process' standard input; one that is not running is told nothing."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(line.encode() + b"\n")

    def stop(self, seconds: float = 5.0) -> None:
        """Ends the process, by force after `seconds`; it is not started again."""
        self._due = None
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def last_words(self) -> str:
        """Path of its log, and the log's last line."""
        if self.log is None or not self.log.exists():
            return str(self.log)
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{self.log}: {lines[-1]}" if lines else str(self.log)

    def _start(self, now: float) -> None:
        self._due, self._began = None, now
        with self._output() as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                bufsize=0,
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which ends the others in order
            )

    def _output(self) -> contextlib.AbstractContextManager[IO | None]:
        if self.log is None:
            return contextlib.nullcontext()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return open(self.log, "ab")

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process = None


def describe(code: int) -> str:
    """Meaning of a process' exit code, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"


def follow_launcher(on_line: Callable[[str], None]) -> None:
    """If a launcher started this process, end it when the launcher ends for any reason, and pass lines on."""
    if os.environ.get(LAUNCHER) == "stdin":
        threading.Thread(target=_follow, args=(on_line,), name="launcher", daemon=True).start()


def _follow(on_line: Callable[[str], None]) -> None:
    # Not sys.stdin: Python cannot end while a thread waits in it.
    held = b""
    while part := os.read(0, 4096):
        *lines, held = (held + part).split(b"\n")
        for line in lines:
            on_line(line.decode())
    logger.error("the launcher is gone; this process ends, and the same command resumes")
    streams.leave()
    os._exit(1)  # the main thread may be deep in TensorFlow; what is on disk is always whole
