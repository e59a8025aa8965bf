"""Run one command as the chief and as the workers of a search on this machine: for tests, benchmarks, and to try it out.

    scarlet train-supernet configs/digits.yaml --run-dir runs/digits
    python tools/search_cluster.py --workers 2 -- scarlet search configs/digits.yaml --run-dir runs/digits

When one of them fails or is killed, all end; the same command resumes. Exit code: the chief's, or that of a worker that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from scarlet_tf.base.cluster import SEARCH_VARIABLES

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def main() -> int:
    """Parse the command line and wait for all processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, choices=range(1, 257), metavar="N", default=2)
    parser.add_argument("command", nargs="+", help="-- command and its arguments")
    arguments = parser.parse_args()
    if shutil.which(arguments.command[0]) is None:
        parser.error(f"command: expected a program, got {arguments.command[0]!r}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    own = dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // arguments.workers))) | os.environ
    names, port = ["chief", *(f"worker-{i}" for i in range(arguments.workers))], free_port()
    with contextlib.ExitStack() as stack:
        started = (subprocess.Popen(arguments.command, env=own | variables(name, port)) for name in names)
        chief, *workers = map(stack.enter_context, started)
        for process in (chief, *workers):
            stack.callback(process.kill)
        while chief.poll() is None and not any(worker.poll() for worker in workers):
            time.sleep(0.1)
        codes = [process.returncode for process in (chief, *workers)]
        return codes[0] if codes[0] is not None else next(filter(None, codes))


def variables(tuner_id: str, port: int) -> dict[str, str]:
    """KerasTuner's environment of one process of a search on this machine."""
    return dict(zip(SEARCH_VARIABLES, (tuner_id, "127.0.0.1", str(port)), strict=True))


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
