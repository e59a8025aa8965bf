"""TFLite's `benchmark_model` on an Android device, over adb. Tested against a stand-in for adb, on no device."""

from __future__ import annotations

import hashlib
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from scarlet_tf.base.errors import InputError
from scarlet_tf.latency.timing import Measurement

FOLDER = "/data/local/tmp/scarlet"
BENCHMARK_MODEL = "/data/local/tmp/benchmark_model"
WARM_UP_RUNS, RUNS = 5, 20
WARM_UP_SECONDS, SECONDS = (
    0.05,
    0.1,
)  # at least; benchmark_model's own half and whole second add up over hundreds of parts
TIMEOUT_SECONDS = 300
_PROPERTIES = {
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "abi": "ro.product.cpu.abi",
    "android": "ro.build.version.release",
}
_GONE = re.compile(r"device .*(not found|offline)|no devices|device offline|closed|protocol fault", re.IGNORECASE)
_STATISTICS = re.compile(r"\bcount=.*")


class AdbRunner:
    """Times files on one device.

    Args:
        serial: of the device, as `adb devices` prints it; None for the only one.
        benchmark_model: the program: a file here, which is copied to the device, or else its path on the device;
            /data/local/tmp/benchmark_model by default.
        threads: of LiteRT.
        quantization: of the files, for the record.
        adb: name or path of the adb program.

    `device` names the device and the settings. A Measurement holds the median of the runs, or their mean where this version
    of the program prints none, and their standard deviation. InputError says what is missing: adb, a device, its
    permission, the program, or timings in what it prints.
    """

    def __init__(
        self,
        serial: str | None = None,
        benchmark_model=None,
        threads: int = 1,
        quantization: str = "none",
        adb: str = "adb",
    ):
        if threads < 1:
            raise InputError(f"threads: expected an integer >= 1, got {threads}")
        program = shutil.which(adb)
        if program is None:
            raise InputError(f"{adb}: expected adb, of Android's platform-tools, on the PATH, found none")
        self.threads, self._adb = threads, program
        self.serial = _choose(self._run([self._adb, "devices"]), serial)
        self._shell("mkdir", "-p", FOLDER)
        self._program, version = self._find_program(benchmark_model)
        self.device = {
            **self._properties(),
            "threads": threads,
            "warm_up_runs": WARM_UP_RUNS,
            "runtime": f"benchmark_model {version}",
            "quantization": quantization,
        }

    def measure(self, contents: Sequence[bytes]) -> list[Measurement]:
        """One Measurement for each file's content."""
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / f"{i}.tflite" for i in range(len(contents))]
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            return self.measure_files(paths)

    def measure_files(self, paths: Sequence) -> list[Measurement]:
        """One Measurement for each .tflite file: all are copied to the device, run one after another, and removed there.

        Files in different folders may have one name.
        """
        if not paths:
            return []
        with tempfile.TemporaryDirectory() as folder:
            copies = [pathlib.Path(folder) / f"{i}.tflite" for i in range(len(paths))]
            for copy, path in zip(copies, paths, strict=True):
                _link(pathlib.Path(path).resolve(), copy)
            self._command("push", *map(str, copies), FOLDER + "/")
        remote = [f"{FOLDER}/{copy.name}" for copy in copies]
        try:
            return [self._measure(graph) for graph in remote]
        finally:
            self._attempt(self._words("shell", f"rm -f {shlex.join(remote)}"))

    def _measure(self, graph: str) -> Measurement:
        flags = {
            "graph": graph,
            "num_threads": self.threads,
            "warmup_runs": WARM_UP_RUNS,
            "warmup_min_secs": WARM_UP_SECONDS,
            "num_runs": RUNS,
            "min_secs": SECONDS,
        }
        output = self._shell(self._program, *(f"--{name}={value}" for name, value in flags.items()))
        return parse_timings(output, f"{self._program} on {self.serial}")

    def _properties(self) -> dict[str, str]:
        """Properties of the device, one line each."""
        answer = self._command("shell", "; ".join(f"getprop {key}" for key in _PROPERTIES.values()))
        lines = [*answer.splitlines(), *[""] * len(_PROPERTIES)]
        return {name: line.strip() or "unknown" for name, line in zip(_PROPERTIES, lines, strict=False)}

    def _find_program(self, given) -> tuple[str, str]:
        """Path of the program on the device, and an identifier of its version."""
        local = None if given is None else pathlib.Path(given)
        if local is not None and local.is_file():
            remote = f"{FOLDER}/benchmark_model"
            self._command("push", str(local), remote)
            self._shell("chmod", "755", remote)
            return remote, hashlib.sha256(local.read_bytes()).hexdigest()[:12]
        remote = str(given or BENCHMARK_MODEL)
        if (
            not remote.startswith("/")
            or self._attempt(self._words("shell", shlex.join(["test", "-x", remote]))).returncode
        ):
            raise InputError(
                f"benchmark_model: expected TFLite's program for the device's ABI, as a file here or on device {self.serial},"
                f" found none at {remote}; see --benchmark-model"
            )
        return remote, f"at {remote}"

    def _shell(self, *words: str) -> str:
        return self._command("shell", shlex.join(words))

    def _command(self, *words: str) -> str:
        return self._run(self._words(*words))

    def _words(self, *words: str) -> list[str]:
        return [self._adb, "-s", self.serial, *words]

    def _run(self, words: list[str]) -> str:
        """Output of a command; InputError if it failed."""
        done = self._attempt(words)
        if done.returncode == 0:
            return done.stdout + done.stderr
        reason = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        if _GONE.search(done.stderr):
            raise InputError(f"adb: the device has gone: {reason}; what was measured is kept, the same command resumes")
        raise InputError(f"adb {_told(words)}: failed: {reason}")

    def _attempt(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Result of a command; InputError if it did not end."""
        try:
            return subprocess.run(
                words,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            reason = f"expected an answer within {TIMEOUT_SECONDS} seconds, got none"
            raise InputError(f"adb {_told(words)}: {reason}") from error


def _told(words: list[str]) -> str:
    """A command without the program and the device."""
    return shlex.join(words[words.index("-s") + 2 :] if "-s" in words else words[1:])


def parse_timings(output: str, source: str = "benchmark_model") -> Measurement:
    """The timed runs in what benchmark_model prints; InputError that names `source` where there are none.

    It prints a line such as "count=50 first=33228 curr=33130 min=32687 max=33239 avg=33071.8 std=129" for the warm-up and
    one for the timed runs, in microseconds; newer versions add p5, median and p95. Of a single run it says "count=1 curr=33228".
    """
    lines = _STATISTICS.findall(output)
    found = dict(re.findall(r"(\w+)=([\d.eE+-]+)", lines[-1])) if len(lines) > 1 or "avg=" in output else {}
    try:
        microseconds = float(found.get("median") or found.get("avg") or found["curr"])
        return Measurement(microseconds / 1000, float(found.get("std", 0)) / 1000, int(found["count"]))
    except (KeyError, ValueError) as error:
        tail = (output.strip().splitlines() or ["nothing"])[-1]
        raise InputError(f"{source}: expected timings, such as count=50 ... avg=33071.8, got {tail!r}") from error


def _choose(listing: str, serial: str | None) -> str:
    """The device to use of what `adb devices` lists, a line each: serial, tab, state."""
    states = dict(line.split("\t", 1) for line in listing.splitlines() if "\t" in line)
    if not states:
        raise InputError("adb: expected a device with USB debugging switched on, found none")
    if serial is None and len(states) > 1:
        raise InputError(f"--adb: expected the serial of one of the devices {', '.join(states)}, got none")
    serial = serial or next(iter(states))
    if serial not in states:
        raise InputError(f"--adb: expected the serial of one of the devices {', '.join(states)}, got {serial!r}")
    state = states[serial].strip()
    if state == "unauthorized":
        raise InputError(f"adb: device {serial} is unauthorized: allow this computer on its screen")
    if state != "device":
        raise InputError(f"adb: expected device {serial} to be ready, it is {state!r}")
    return serial


def _link(path: pathlib.Path, copy: pathlib.Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: expected a .tflite file, found none")
    try:
        copy.symlink_to(path)
    except OSError:  # Windows lets few users make links
        shutil.copyfile(path, copy)
