"""A search's chief and its local workers: started, watched, and ended together."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from scarlet_tf.cluster import SEARCH_VARIABLES
from scarlet_tf.errors import InputError
from scarlet_tf.search.supervised import Supervised, describe

logger = logging.getLogger("scarlet_tf")
BAD_INPUT = 2  # exit code of a command that would fail again
POLL_SECONDS = 0.1
FAREWELL_SECONDS = 10.0
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
