"""The trial in two processes at the same time, with oneDNN on and off, and its findings."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures

from scarlet_tf import processor
from scarlet_tf.doctor.finding import OK, PROBLEM, WARNING, Finding

COMMAND = (sys.executable, "-m", "scarlet_tf.doctor.trial")
# The trial takes some 20 s of one core; a busy machine may take several times as long.
TIMEOUT_SECONDS = 300.0
# On a busy machine the times of one trial and the next differ by a fifth.
SLOWER = 1.25
# On one thread, so that the two do not disturb each other's times, and on the CPU, since only it has these kernels.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
ENVIRONMENT = {**dict.fromkeys(THREADS, "1"), "CUDA_VISIBLE_DEVICES": "-1"}
WORDS = {"1": "on", "0": "off"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Output of a trial with TF_ENABLE_ONEDNN_OPTS=`mode`; without output, `failure` gives the reason."""

    mode: str
    printed: Mapping = dataclasses.field(default_factory=dict)
    failure: str = ""

    @property
    def problems(self) -> list[str]:
        """One problem per failed comparison, or the failure."""
        if self.failure:
            return [self.failure]
        return [
            f"{c['name']}: {c['difference']:.1e} of the greatest value off plain Keras, expected at most {c['tolerance']:g}"
            for c in self.printed["comparisons"]
            if not c["difference"] <= c["tolerance"]
        ]


def check_trials(command: Sequence[str] = COMMAND, timeout: float = TIMEOUT_SECONDS) -> Iterator[Finding]:
    """Check every comparison with oneDNN on and off, the kernels in use, and their speed."""
    mode = processor.in_use()
    run = functools.partial(run_trial, command=command, timeout=timeout, used=mode)
    with futures.ThreadPoolExecutor(len(WORDS)) as threads:
        outcomes = list(threads.map(run, sorted(WORDS, key=lambda other: other != mode)))
    for outcome, other in zip(outcomes, reversed(outcomes), strict=True):
        yield from _trial_findings(outcome, other)
    yield _speed(outcomes, mode)


def run_trial(mode: str, command: Sequence[str], timeout: float, used: str | None = None) -> Outcome:
    """Run the trial in its own process; SCARLET_KERNELS applies only to the mode that runs use."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **ENVIRONMENT, processor.VARIABLE: mode}
    if used not in (mode, None):
        environment.pop(processor.KERNELS, None)
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        return Outcome(mode, failure=f"no result within {timeout:g} s{_last_line(error.stderr)}")
    except OSError as error:
        return Outcome(mode, failure=f"could not be started: {error.strerror or error}")
    if ended.returncode < 0:
        return Outcome(mode, failure=f"ended by {_signal_name(-ended.returncode)}{_last_line(ended.stderr)}")
    if ended.returncode > 0:
        return Outcome(mode, failure=f"ended with exit code {ended.returncode}{_last_line(ended.stderr)}")
    try:
        return Outcome(mode, json.loads(ended.stdout))
    except ValueError:
        return Outcome(mode, failure=f"printed no result{_last_line(ended.stderr)}")


def _trial_findings(outcome: Outcome, other: Outcome) -> Iterator[Finding]:
    check = f"oneDNN {WORDS[outcome.mode]}"
    for problem in outcome.problems:
        yield Finding(check, PROBLEM, problem, _advice(outcome, other))
    if outcome.failure:
        return
    printed = outcome.printed
    if not outcome.problems:
        differences = ", ".join(f"{c['name']} {c['difference']:.0e}" for c in printed["comparisons"])
        yield Finding(check, OK, f"relative differences from plain Keras, all within tolerance: {differences}")
    refused = "".join(f"; {name} refused: {reason}" for name, reason in printed["refused"].items())
    works = "eigen" not in printed["refused"]  # it consists of operations that work on every processor
    yield Finding(check, OK if works else WARNING, f"kernels: {printed['route']}{refused}")


def _advice(outcome: Outcome, other: Outcome) -> str:
    look = f"{processor.VARIABLE}={outcome.mode} python -m scarlet_tf.doctor.trial shows all of it"
    if other.problems:
        return f"pip install --force-reinstall tensorflow keras ai-edge-litert; {look}"
    return f"export {processor.VARIABLE}={other.mode}; {look}"


def _speed(outcomes: Sequence[Outcome], mode: str | None) -> Finding:
    """Return the processor time of training blocks in each mode, relative to the faster one; the mode in use comes first."""
    names = {outcome.mode: f"oneDNN {WORDS[outcome.mode]}" for outcome in outcomes}
    if mode is not None:
        names[mode] += f" ({processor.chosen()})"
    if any(outcome.failure for outcome in outcomes):
        return Finding("speed", OK, f"{names[outcomes[0].mode]}; not compared, since a trial failed")
    if len({outcome.printed["onednn"] for outcome in outcomes}) == 1:
        return Finding("speed", OK, f"{processor.VARIABLE} changes nothing: TensorFlow has no oneDNN for this system")
    least = min(outcome.printed["seconds"] for outcome in outcomes)
    ratios = {outcome.mode: outcome.printed["seconds"] / least for outcome in outcomes}
    found = "; ".join(f"{names[key]}: {ratio:.2f} of the faster one's time" for key, ratio in ratios.items())
    if mode is not None and ratios[mode] > SLOWER:
        return Finding("speed", WARNING, found, f"export {processor.VARIABLE}={outcomes[1].mode}")
    return Finding("speed", OK, found)


def _last_line(stderr: bytes | None) -> str:
    lines = (stderr or b"").decode(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()}" if lines else ""


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
