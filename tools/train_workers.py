"""Run one command in several local workers of a MultiWorkerMirroredStrategy, and all of them again when one dies.

    python tools/train_workers.py --workers 2 -- scarlet train-supernet configs/digits.yaml --run-dir runs/digits

Each worker gets its TF_CONFIG. When a worker ends with an error or is killed, the others are stopped, since they cannot continue
without it, and all are started again; they resume from the last checkpoint. On several hosts a scheduler does the same:
`--print-environment` shows what to set there. Exit code: 0 when all workers ended well, else that of the first that did not.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time


def main() -> int:
    """Parse the command line and run the job to its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--restarts", type=int, default=3, help="how often the whole job is started again")
    parser.add_argument("--print-environment", action="store_true", help="print TF_CONFIG of each worker and stop")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- command and its arguments")
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if arguments.workers < 1 or arguments.restarts < 0:
        parser.error("expected --workers >= 1 and --restarts >= 0")
    if arguments.print_environment:
        for text in environments(arguments.workers):
            print(f"TF_CONFIG='{text}'")
        return 0
    if not command:
        parser.error("expected a command after --")
    for attempt in range(arguments.restarts + 1):
        code = run_job(command, arguments.workers)
        if code in (0, 2):  # 2 is bad input: trying again would not help
            return code
        if attempt < arguments.restarts:
            print(f"train_workers: a worker ended with {code}; starting all again", file=sys.stderr, flush=True)
    return code


def run_job(command: list[str], workers: int, **options) -> int:
    """Start all workers; return 0, or the exit code of the first that fails, once none is left. `options`: of Popen."""
    texts = environments(workers)
    processes = [subprocess.Popen(command, env={**os.environ, "TF_CONFIG": text}, **options) for text in texts]
    try:
        while True:
            codes = [process.poll() for process in processes]
            failed = [code for code in codes if code not in (None, 0)]
            if failed:
                return failed[0]
            if all(code == 0 for code in codes):
                return 0
            time.sleep(0.2)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def environments(workers: int) -> list[str]:
    """TF_CONFIG of each worker, on ports that are free now."""
    sockets = [socket.socket() for _ in range(workers)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    finally:
        for one in sockets:
            one.close()
    tasks = ({"type": "worker", "index": index} for index in range(workers))
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


if __name__ == "__main__":
    sys.exit(main())
