"""Run one command in several processes of this machine that work together: for tests, benchmarks, and to try it out.

    python tools/local_cluster.py --workers 2 -- scarlet search configs/digits.yaml --run-dir runs/digits
    python tools/local_cluster.py --training --workers 2 -- scarlet retrain configs/digits.yaml --run-dir runs/digits

A chief and its workers, told apart by KerasTuner's variables (search, race, rank); with --training, the workers of one training,
by TF_CONFIG (train-supernet, retrain). When one of them fails or is killed, all end; the same command resumes. Exit code: the
first process', or that of the one that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from unittest import mock

from scarlet_tf.base.cluster import SEARCH_VARIABLES, VARIABLE

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def main() -> int:
    """Parse the command line and wait for all processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", action="store_true", help="workers of one training")
    parser.add_argument("--workers", type=int, choices=range(1, 257), metavar="N", default=2)
    parser.add_argument("command", nargs="+", help="-- command and its arguments")
    arguments = parser.parse_args()
    if shutil.which(arguments.command[0]) is None:
        parser.error(f"command: expected a program, got {arguments.command[0]!r}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    own = dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // arguments.workers)))
    with mock.patch.dict(os.environ, own | os.environ):
        return (run_training if arguments.training else run_search)(arguments.command, arguments.workers)


def run_search(command: Sequence[str], workers: int) -> int:
    """Run a chief, whose end is the end of all, and its workers; return the exit code."""
    port = free_port()
    return _run(command, [variables(name, port) for name in ("chief", *(f"worker-{i}" for i in range(workers)))], 1)


def run_training(command: Sequence[str], workers: int, **options) -> int:
    """Run the workers of one training until all have ended; return the exit code. `options`: of Popen."""
    with contextlib.ExitStack() as stack:  # all are open until all are found
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(workers)]
        cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(workers)]
    return _run(command, [{VARIABLE: json.dumps(task)} for task in tasks], workers, **options)


def _run(command: Sequence[str], members: Sequence[dict[str, str]], waited_for: int, **options) -> int:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, env=os.environ | m, **options)) for m in members]
        for process in processes:
            stack.callback(process.kill)
        while None in [p.poll() for p in processes[:waited_for]] and not any(p.poll() for p in processes):
            time.sleep(0.1)
        return next(filter(None, (process.returncode for process in processes)), 0)


def variables(tuner_id: str, port: int) -> dict[str, str]:
    """KerasTuner's environment of one process of a search on this machine."""
    return dict(zip(SEARCH_VARIABLES, (tuner_id, "127.0.0.1", str(port)), strict=True))


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
