"""Shared by the benchmarks: child processes, turns, medians, and TensorFlow with and without oneDNN.

TensorFlow reads TF_ENABLE_ONEDNN_OPTS when it is imported, and fixes its threads at the first operation. So every mode is
measured in a child process of its own, which prints its figures as JSON on its last line. Only the standard library is
imported here, since rivals' processes use this module, too.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_ONEDNN_IS_ON = "oneDNN custom operations are on"  # TensorFlow logs this when it is imported


def add_onednn_option(parser: argparse.ArgumentParser) -> None:
    """Add `--onednn 0|1`, which `onednn_modes` reads."""
    parser.add_argument("--onednn", type=int, choices=[0, 1], help=f"measure with {ONEDNN}=0 or 1 only (default: both)")


def onednn_modes(chosen: int | None) -> list[int]:
    """The modes to measure: the chosen one, or both; the one that TensorFlow takes on this machine comes first."""
    if chosen is not None:
        return [chosen]
    default = default_onednn()
    return [default, 1 - default]


def default_onednn() -> int:
    """1 if TensorFlow uses oneDNN here by default; it depends on the processor."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-c", "import tensorflow"]
    lines = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True, env=environment).stderr
    return int(_ONEDNN_IS_ON in lines)


def in_child(file: str, options: Sequence, onednn: int | None = None) -> dict[str, Any]:
    """Run a Python file in a process of its own and return the JSON of the last line that it prints."""
    environment = dict(os.environ) if onednn is None else {**os.environ, ONEDNN: str(onednn)}
    command = [sys.executable, file, *map(str, options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def alternate(
    measurements: Mapping[Any, Callable[[], Any]], rounds: int, advance: Callable[[], Any] = lambda: None
) -> dict[Any, list]:
    """{name: return values of its function, by round}; the functions of a round run one after another.

    `advance` is called after each of them.
    """
    found: dict[Any, list] = {name: [] for name in measurements}
    for _ in range(rounds):
        for name, measure in measurements.items():
            found[name].append(measure())
            advance()
    return found


def round_ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, list[float]]:
    """(median, all) of the ratios of two measurements in the same round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), ratios


def timed(step: Callable[[], Any]) -> float:
    """Seconds of one call, which returns when its work is done."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def peak_bytes() -> int:
    """Peak resident set of this process so far.

    Under Linux a started program inherits getrusage's figure, so a child of a large parent would seem as
    large; VmHWM belongs to the program alone.
    """
    status = pathlib.Path("/proc/self/status")
    if not status.exists():  # macOS counts in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))


class Partner:
    """A child process that takes turns with this one: it works while `turn` waits for it, and waits otherwise.

    The child calls `serve`. Two libraries that would share threads badly in one process can alternate this way.
    """

    def __init__(self, command: Sequence):
        self._command = list(map(str, command))
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self) -> dict[str, Any]:
        """Return value of the child's next call. Raises RuntimeError if the child has ended."""
        assert self._process.stdin and self._process.stdout
        try:
            print(file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"{' '.join(self._command[:2])}: ended with exit code {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> Partner:
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate()  # closes its standard input, which ends `serve`


def serve(step: Callable[[], dict[str, Any]]) -> None:
    """Call `step` for each line on standard input and print its return value as a line of JSON."""
    for _ in sys.stdin:
        print(json.dumps(step()), flush=True)
