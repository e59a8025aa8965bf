"""Checks of cores, memory, disk, and programs that some commands call."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from scarlet_tf.doctor.finding import OK, PROBLEM, WARNING, Finding

# A small run's needs, with a margin: TensorFlow alone takes several hundred MiB, a run folder tens of MiB.
LEAST_MEMORY = 2 * 2**30
LEAST_DISK = 2**30
PROGRAMS = {
    "adb": ("--adb, latencies on a phone", "install Android's platform-tools"),
    "npm": ("make browser, a page that classifies", "install Node.js"),
    "chromium": ("tools/bench_browser.py", "pip install playwright && playwright install chromium"),
}


def check_cores() -> Iterator[Finding]:
    """Count the cores that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cores", OK, f"{usable} usable of {os.cpu_count()}")


def check_memory() -> Iterator[Finding]:
    """Check total and free memory of the machine or its container."""
    from scarlet_tf.training.memory import gibibytes, limit_bytes, reachable_bytes

    limit, free = limit_bytes(), reachable_bytes()
    found = f"{gibibytes(free)} of {gibibytes(limit)} available"
    if free < LEAST_MEMORY:
        advice = "end other programs, or: --set supernet.execution=sequential --set supernet.batch_size=32"
        yield Finding("memory", WARNING, found, advice)
    else:
        yield Finding("memory", OK, found)


def check_disk(folder: str | os.PathLike = ".") -> Iterator[Finding]:
    """Check that run folders can be written below the current folder, and the free space."""
    path = pathlib.Path(folder).resolve()
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        advice = "change to a folder of yours, or give --run-dir"
        yield Finding("disk", PROBLEM, f"{path} cannot be written: {error.strerror or error}", advice)
        return
    free = shutil.disk_usage(path).free
    found = f"{free / 2**30:.1f} GiB free in {path}"
    if free < LEAST_DISK:
        yield Finding("disk", WARNING, found, "make room, or give --run-dir on another disk")
    else:
        yield Finding("disk", OK, found)


def check_programs() -> Iterator[Finding]:
    """Check programs that only some commands need; a missing one is not a fault."""
    for program, (purpose, advice) in PROGRAMS.items():
        place = shutil.which(program)
        if place:
            yield Finding(f"program {program}", OK, f"{place}, for {purpose}")
        else:
            yield Finding(f"program {program}", OK, f"not found; only for {purpose}", advice)
