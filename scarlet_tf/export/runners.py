"""Runners: what times .tflite files, on this host or elsewhere."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Protocol

from scarlet_tf.errors import InputError
from scarlet_tf.export.quiet import quiet
from scarlet_tf.export.timing import SECONDS_PER_ROUND, WARM_UP_RUNS, new_interpreter, time_interpreters


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
    """What a latency on this host belongs to, in plain JSON types."""
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
