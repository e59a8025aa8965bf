"""Search a supernet with several workers on this machine, and optionally with others on other hosts.

    python tools/search_cluster.py configs/digits.yaml --run-dir runs/digits --workers 2

Trains the supernet first if that is not done. A worker that dies is started again under its id and gets its trial back; one that
dies again and again is given up, and its trial goes to another. A killed chief is restarted. Interrupted? The same command
resumes, and so does `scarlet search`, which finds the same front. Then `scarlet run` continues with the later stages.

The workers' output is in <run-dir>/search/worker-*.log. Each gets its share of the cores, unless TF_NUM_INTRAOP_THREADS,
TF_NUM_INTEROP_THREADS or OMP_NUM_THREADS say otherwise. Exit code: 0 when the search has ended well, 1 failure, 2 bad input, 130
interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import shlex
import signal
import socket
import subprocess
import sys

from scarlet_tf.base import logs
from scarlet_tf.base.cluster import is_loopback
from scarlet_tf.base.errors import InputError
from scarlet_tf.config import load_config
from scarlet_tf.search.processes import ANY_ADDRESS, SearchCluster, environment, reserved_address

STALE_MINUTES = 30


def main() -> int:
    """Parse the command line and run the search to its end."""
    arguments = parse()
    logs.quiet_frameworks()
    logs.log_to_terminal()
    try:
        return run(arguments)
    except InputError as error:
        print(f"search_cluster: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"search_cluster: interrupted; the same command resumes: {shlex.join(sys.argv)}", file=sys.stderr)
        return 130


def parse() -> argparse.Namespace:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, such as configs/digits.yaml")
    parser.add_argument("--run-dir", metavar="DIR", required=True, help="folder of the run's files")
    parser.add_argument("--workers", type=int, default=2, help="on this machine; 0: only on others (default: 2)")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (default: this machine alone)")
    parser.add_argument("--port", type=int, default=0, help="to serve at (default: a free one)")
    parser.add_argument(
        "--stale-minutes",
        type=float,
        metavar="M",
        help="a model without a result for so long is given to another worker, too (default: the configuration's, or 30)",
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[], help="as in scarlet"
    )
    arguments = parser.parse_args()
    if arguments.workers < 0:
        parser.error("expected --workers >= 0")
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Train the supernet if that is not done, then search; return the exit code."""
    if not (pathlib.Path(arguments.run_dir) / "supernet" / "result.json").exists():
        code = train(scarlet("train-supernet", arguments, arguments.overrides))
        if code:
            return code if code > 0 else 1
    overrides = list(arguments.overrides)
    stale = arguments.stale_minutes
    if stale is None and load_config(arguments.config, overrides).search.stale_trial_minutes is None:
        stale = STALE_MINUTES
    if stale is not None:
        overrides.append(f"search.stale_trial_minutes={stale}")
    with reserved_address(arguments.host, arguments.port) as address:
        tell_other_hosts(address, arguments, overrides)
        command = scarlet("search", arguments, overrides)
        return SearchCluster(command, arguments.workers, address, pathlib.Path(arguments.run_dir) / "search").run()


def scarlet(stage: str, arguments: argparse.Namespace, overrides: list[str]) -> list[str]:
    """The command of one stage, run by this Python."""
    sets = [text for override in overrides for text in ("--set", override)]
    return [sys.executable, "-m", "scarlet_tf", stage, arguments.config, "--run-dir", arguments.run_dir, *sets]


def train(command: list[str]) -> int:
    """Run the command; it gets Ctrl-C itself, and saves a checkpoint before it ends."""
    with subprocess.Popen(command) as process:
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                with contextlib.suppress(KeyboardInterrupt):
                    return process.wait()
        finally:
            signal.signal(signal.SIGTERM, previous)


def tell_other_hosts(address: tuple[str, int], arguments: argparse.Namespace, overrides: list[str]) -> None:
    """Print the settings for a worker on another host."""
    host, port = address
    if is_loopback(host):
        print(f"The chief is at {host}:{port}; --host ADDRESS lets workers of other hosts in.", flush=True)
        return
    variables = environment(f"worker-{arguments.workers}", socket.gethostname() if host == ANY_ADDRESS else host, port)
    values = [f"{name}={value}" for name, value in variables.items()]
    command = shlex.join(["scarlet", *scarlet("search", arguments, overrides)[3:]])
    print(
        "A worker on another host, which has to see this run folder or a copy of it, search/.secret included, is started so, each"
        " with an id of its own:\n"
        f"  {' '.join(values)} {command}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
