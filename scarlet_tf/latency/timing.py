"""Timing of .tflite files: the protocol of runners, and LiteRT on this host for several networks side by side."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.streams import quiet

ROUNDS = 10
SECONDS_PER_ROUND = 0.1
WARM_UP_RUNS = 5
LEAST_RUNS = 3


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Milliseconds of one image, how far runs were from it, and how many there were; see the runner."""

    milliseconds: float
    deviation: float
    num_runs: int


class Runner(Protocol):
    """Times .tflite files. `device` says where, in plain JSON: times of one device are no times of another."""

    device: dict

    def measure(self, contents: Sequence[bytes]) -> list[Measurement]:
        """One Measurement for each file's content; the files may be measured side by side."""


class HostRunner:
    """LiteRT on this host: the median of a turn's runs, and their median absolute deviation."""

    def __init__(self, threads: int = 1, quantization: str = "none", seconds: float = SECONDS_PER_ROUND):
        if threads < 1:
            raise InputError(f"threads: expected an integer >= 1, got {threads}")
        self.threads, self.seconds = threads, seconds
        self.device = {
            **describe_host(threads),
            "warm_up_runs": WARM_UP_RUNS,
            "quantization": quantization,
        }

    def measure(self, contents: Sequence[bytes]) -> list[Measurement]:
        with quiet():
            interpreters = [new_interpreter(content, self.threads) for content in contents]
        timings = time_interpreters(interpreters, rounds=1, seconds_per_round=self.seconds)
        return [Measurement(timing.milliseconds, timing.deviation, timing.num_runs) for timing in timings]


def describe_host(threads: int) -> dict:
    """Facts that a latency on this host depends on, in plain JSON types."""
    return {
        "host": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "runtime": f"LiteRT {importlib.metadata.version('ai-edge-litert')}",
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Milliseconds of one network's runs, one array a round."""

    rounds: tuple[np.ndarray, ...]

    @property
    def milliseconds(self) -> float:
        """The median of all runs."""
        return float(np.median(np.concatenate(self.rounds)))

    @property
    def deviation(self) -> float:
        """The median absolute deviation of all runs from their median, in milliseconds."""
        runs = np.concatenate(self.rounds)
        return float(np.median(np.abs(runs - np.median(runs))))

    @property
    def num_runs(self) -> int:
        return sum(map(len, self.rounds))

    def ratio(self, other: Timing) -> float:
        """This network's time over the other's: the median over rounds, each of which saw the same state of the host."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return float(np.median([np.median(mine) / np.median(theirs) for mine, theirs in pairs]))


def time_interpreters(
    interpreters: Sequence[Interpreter],
    rounds: int = ROUNDS,
    seconds_per_round: float = SECONDS_PER_ROUND,
    progress: Callable[[], None] = lambda: None,
) -> list[Timing]:
    """One Timing for each allocated interpreter, whose inputs are filled with random values.

    The networks take turns, round by round, so that what slows the host for a while slows all of them. `progress` is
    called after each turn.
    """
    for name, value in (("rounds", rounds), ("seconds_per_round", seconds_per_round)):
        if not value > 0:
            raise InputError(f"{name}: expected a number > 0, got {value!r}")
    for interpreter in interpreters:
        _fill_inputs(interpreter)
        for _ in range(WARM_UP_RUNS):
            interpreter.invoke()
    times: list[list[np.ndarray]] = [[] for _ in interpreters]
    for _ in range(rounds):
        for interpreter, taken in zip(interpreters, times, strict=True):
            taken.append(_turn(interpreter, seconds_per_round))
            progress()
    return [Timing(tuple(taken)) for taken in times]


def new_interpreter(content: bytes, threads: int = 1) -> Interpreter:
    """An allocated interpreter of a .tflite file's content."""
    if threads < 1:
        raise InputError(f"threads: expected an integer >= 1, got {threads}")
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def _turn(interpreter: Interpreter, seconds: float) -> np.ndarray:
    interpreter.invoke()  # the caches held another network
    runs: list[float] = []
    until = time.perf_counter() + seconds
    while len(runs) < LEAST_RUNS or time.perf_counter() < until:
        started = time.perf_counter()
        interpreter.invoke()
        runs.append(1000 * (time.perf_counter() - started))
    return np.array(runs)


def _fill_inputs(interpreter: Interpreter) -> None:
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        if np.issubdtype(detail["dtype"], np.floating):
            values = rng.normal(size=detail["shape"])
        else:
            limits = np.iinfo(detail["dtype"])
            values = rng.integers(limits.min, limits.max, detail["shape"], endpoint=True)
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
