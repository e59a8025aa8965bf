"""`scarlet doctor`: checks of a run's requirements, from Python to a tiny network in a .tflite file."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from scarlet_tf.base import host, logs, streams
from scarlet_tf.base.errors import ChecksFailedError, InputError
from scarlet_tf.cli import doctor_checks
from scarlet_tf.cli.doctor_checks import OK, PROBLEM, WARNING, Finding
from scarlet_tf.cli.output import library_lines_held_back, show
from scarlet_tf.cli.parsing import add_command

Check = Callable[[], Iterable[Finding]]


def add(commands) -> None:
    """Add the command."""
    text = (
        "check what runs need: Python, packages, devices, memory, disk, folders of data, and what training and"
        " export compute, against plain Keras with oneDNN on and off; exit code 1 where something is a problem"
    )
    command = add_command(commands, "doctor", text, "scarlet doctor --config my.yaml", doctor)
    command.add_argument("--config", metavar="CONFIG", help="check this configuration and its images, too")


def doctor(arguments: argparse.Namespace) -> None:
    """Print each finding as it is made; ChecksFailedError if one is a problem."""
    findings, terminal = [], sys.stdout
    if arguments.loudness == "normal":  # lines are not findings; bars disappear again
        logs.log_to_terminal("quiet")
    with library_lines_held_back(arguments):
        for finding in findings_of(checks(arguments.config)):
            findings.append(finding)
            if not (arguments.json or (arguments.loudness == "quiet" and finding.status == OK)):
                with streams.STDOUT.override(terminal):
                    show(arguments, finding, lambda finding: [_text(finding)])
    problems = [finding for finding in findings if finding.status == PROBLEM]
    if arguments.json:
        show(
            arguments, {"passed": not problems, "checks": [dataclasses.asdict(finding) for finding in findings]}, print
        )
    if problems:
        raise ChecksFailedError(f"{len(problems)} of {len(findings)} checks found a problem")


def _text(finding: Finding) -> str:
    """Such as "warning  memory           1.20 GiB of 2.00 GiB available -> end other programs"."""
    return f"{finding.status:8} {finding.check:17} {finding.found}{f' -> {finding.advice}' if finding.advice else ''}"


def checks(config: str | None) -> Iterator[tuple[str, Check]]:
    """(name, check) of all checks in order. `config`: a configuration that is checked with its images."""
    yield "python", doctor_checks.check_python
    yield "packages", doctor_checks.check_packages
    yield "tensorflow", doctor_checks.check_tensorflow
    yield "keras", doctor_checks.check_keras
    yield "devices", doctor_checks.check_devices
    yield "cores", doctor_checks.check_cores
    yield "memory", doctor_checks.check_memory
    yield "disk", doctor_checks.check_disk
    yield "extras", doctor_checks.check_extras
    yield "programs", doctor_checks.check_programs
    yield "data folder", doctor_checks.check_data_folder
    yield "zoo folder", doctor_checks.check_zoo_folder
    if config is not None:
        yield "config", functools.partial(doctor_checks.check_config, config)
    yield "trial", check_trials


def findings_of(checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """Yield each finding as soon as it is known; an exception in a check is its last finding, a problem."""
    for name, check in checks:
        try:
            yield from check()
        except InputError as error:
            yield Finding(name, PROBLEM, str(error))
        except Exception as error:
            yield Finding(name, PROBLEM, f"{type(error).__name__}: {error}".splitlines()[0], "scarlet doctor --verbose")


# -- the trial in two processes at the same time, with oneDNN on and off ------------------------------------------

COMMAND = (sys.executable, "-m", "scarlet_tf.cli.doctor_trial")
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
    from concurrent import futures

    mode = host.in_use()
    run = functools.partial(run_trial, command=command, timeout=timeout, used=mode)
    with futures.ThreadPoolExecutor(len(WORDS)) as threads:
        outcomes = list(threads.map(run, sorted(WORDS, key=lambda other: other != mode)))
    for outcome, other in zip(outcomes, reversed(outcomes), strict=True):
        yield from _trial_findings(outcome, other)
    yield _speed(outcomes, mode)


def run_trial(mode: str, command: Sequence[str], timeout: float, used: str | None = None) -> Outcome:
    """Run the trial in its own process; SCARLET_KERNELS applies only to the mode that runs use."""
    environment = host.with_faster({"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **ENVIRONMENT, host.VARIABLE: mode})
    if used not in (mode, None):
        environment.pop(host.KERNELS, None)
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
    look = f"{host.VARIABLE}={outcome.mode} python -m scarlet_tf.cli.doctor_trial shows all of it"
    if other.problems:
        return f"pip install --force-reinstall tensorflow keras ai-edge-litert; {look}"
    return f"export {host.VARIABLE}={other.mode}; {look}"


def _speed(outcomes: Sequence[Outcome], mode: str | None) -> Finding:
    """Return the processor time of training blocks in each mode, relative to the faster one; the mode in use comes first."""
    names = {outcome.mode: f"oneDNN {WORDS[outcome.mode]}" for outcome in outcomes}
    if mode is not None:
        names[mode] += f" ({host.chosen()})"
    if any(outcome.failure for outcome in outcomes):
        return Finding("speed", OK, f"{names[outcomes[0].mode]}; not compared, since a trial failed")
    if len({outcome.printed["onednn"] for outcome in outcomes}) == 1:
        return Finding("speed", OK, f"{host.VARIABLE} changes nothing: TensorFlow has no oneDNN for this system")
    least = min(outcome.printed["seconds"] for outcome in outcomes)
    ratios = {outcome.mode: outcome.printed["seconds"] / least for outcome in outcomes}
    found = "; ".join(f"{names[key]}: {ratio:.2f} of the faster one's time" for key, ratio in ratios.items())
    if mode is not None and ratios[mode] > SLOWER:
        return Finding("speed", WARNING, found, f"export {host.VARIABLE}={outcomes[1].mode}")
    return Finding("speed", OK, found)


def _last_line(stderr: bytes | None) -> str:
    lines = (stderr or b"").decode(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()}" if lines else ""


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
