"""Harness of benchmarks and studies: options, child processes, turns, medians, kept rows, and TensorFlow with and without oneDNN.

TensorFlow reads TF_ENABLE_ONEDNN_OPTS when it is imported, and fixes its threads at the first operation. So every mode is
measured in a child process of its own. Only the standard library is imported here, since rivals' processes use this module, too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from unittest import mock

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_ONEDNN_IS_ON = "oneDNN custom operations are on"  # TensorFlow logs this when it is imported
MODES = {"type": int, "choices": [0, 1], "help": f"measure with {ONEDNN}=0 or 1 only (default: both)"}
"""Option of the benchmarks that measure `by_mode`, under the name onednn."""
ROUNDS = "alternating measurements of which the median counts"


def command_line(doc: str | None, **options) -> argparse.ArgumentParser:
    """Parser of a benchmark, whose --help is `doc`.

    An option is its default or (default, help), and has the default's type: a list takes several values, False makes a flag.
    A dict holds arguments of `add_argument` instead.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, option in options.items():
        if not isinstance(option, dict):
            default, text = option if isinstance(option, tuple) else (option, None)
            option = {"default": default, "help": text}
            if default is False:
                option |= {"action": "store_true"}
            elif default is not None:
                option |= (
                    {"type": type(default[0]), "nargs": "+"} if isinstance(default, list) else {"type": type(default)}
                )
        parser.add_argument(f"--{name.replace('_', '-')}", **option)
    return parser


def parse(doc: str | None, **options) -> argparse.Namespace:
    """Parse a benchmark's options, see `command_line`."""
    return command_line(doc, **options).parse_args()


def report(benchmark: str, **figures) -> None:
    """Print the result as one JSON object on the last line."""
    print(json.dumps({"benchmark": benchmark, **figures}))


class Rows:
    """Results in a file of JSON lines, which a study that is started again does not compute again.

    Raises InputError for a file with other lines.
    """

    def __init__(self, file: pathlib.Path):
        from scarlet_tf.base.errors import InputError

        self._file = file
        try:
            self._rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        except ValueError as error:
            raise InputError(f"{file}: expected a row of JSON in each line: {error}") from None

    def __iter__(self) -> Iterator[dict]:
        return iter(self._rows)

    def known(self, key: Mapping[str, Any]) -> dict | None:
        """The first row with these values; None if there is none."""
        return next((row for row in self._rows if key.items() <= row.items()), None)

    def once(self, key: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]) -> dict:
        """The row with these values; where it is missing, one with what `compute` returns, and its processor seconds."""
        from scarlet_tf.base.files import write_text

        found = self.known(key)
        if found is None:
            started = time.process_time()
            found = {**key, **compute()}
            found["cpu_seconds"] = round(time.process_time() - started, 1)
            self._rows.append(found)
            write_text(self._file, "".join(json.dumps(row) + "\n" for row in self._rows))
        return found


def in_child(
    function: Callable,
    *arguments,
    onednn: int | None = None,
    threads: int | None = None,
    complete: Callable[[Mapping[str, str]], Mapping[str, str]] = dict,
) -> Any:
    """Return value of a module's function, called in a new process, whose TensorFlow has that mode and so many threads.

    `complete` makes that process' environment out of one with the mode.
    """
    environment = complete({**os.environ, **({} if onednn is None else {ONEDNN: str(onednn)})})
    context = multiprocessing.get_context("spawn")
    started = ProcessPoolExecutor(1, context, use_threads, (threads,))
    with mock.patch.dict(os.environ, environment, clear=True), started as pool:
        return pool.submit(function, *arguments).result()


def use_threads(threads: int | None) -> None:
    """Give TensorFlow's operations so many threads, one operation at a time; None: as many as it takes."""
    if threads is not None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def by_mode(chosen: int | None, function: Callable, *arguments, threads: int | None = None) -> list[dict]:
    """{"onednn", and the figures that `function` returns} of each mode in `onednn_modes`."""
    modes = onednn_modes(chosen)
    return [{"onednn": mode, **in_child(function, *arguments, onednn=mode, threads=threads)} for mode in modes]


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


def timed(step: Callable, *arguments) -> float:
    """Seconds on the clock of one call, which returns when its work is done."""
    started = time.perf_counter()
    step(*arguments)
    return time.perf_counter() - started


def cpu_timed(step: Callable, *arguments) -> float:
    """Processor seconds of this process, all threads, in one call: waiting for a busy processor does not count."""
    started = time.process_time()
    step(*arguments)
    return time.process_time() - started


def peak_bytes() -> int:
    """Peak resident set of this process so far.

    Under Linux a started program inherits getrusage's figure, so a child of a large parent would seem as
    large; VmHWM belongs to the program alone.
    """
    status = pathlib.Path("/proc/self/status")
    if not status.exists():  # macOS counts in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))


def growth(step: Callable, times: int = 3) -> int:
    """Bytes by which so many calls raise the peak resident set."""
    before = peak_bytes()
    for _ in range(times):
        step()
    return peak_bytes() - before


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
