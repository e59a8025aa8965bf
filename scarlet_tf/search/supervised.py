"""Supervised: a command that is started again, later each time, when it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO

from scarlet_tf.search.leash import VARIABLE

logger = logging.getLogger("scarlet_tf")
LONGEST_PAUSE = 30.0  # seconds before a restart; the first is after one second, each further one takes twice as long
STEADY_SECONDS = 600.0  # a process that lived this long begins a new row of restarts


class Supervised:
    """One process of a job, which ends when this one does.

    `code`: of the last process that ended, negative when a signal ended it; None while one runs or is about to.

    Args:
        name: in log lines.
        command, environment: of the process; the environment's values are added to this process' own.
        log: a file that takes its standard output and error, appended; None: they are this process' own.
        restarts: how often in a row it is started again.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log=None, restarts: int = 5):
        self.name, self.log = name, None if log is None else pathlib.Path(log)
        self.code: int | None = None
        self._command, self._environment = list(command), {**os.environ, **environment, VARIABLE: "stdin"}
        self._restarts, self._row = restarts, 0
        self._process: subprocess.Popen | None = None
        self._began = 0.0
        self._due: float | None = time.monotonic()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tick(self) -> int | None:
        """Starts the process where that is due; returns its exit code once when it has ended."""
        now = time.monotonic()
        if self._process is None:
            if self._due is not None and now >= self._due:
                self._start(now)
            return None
        code = self._process.poll()
        if code is not None:
            self._forget()
            self.code = code
            self._row = 0 if now - self._began > STEADY_SECONDS else self._row
        return code

    def start_again(self) -> bool:
        """Start an ended process again after a pause; False if that was done too often in a row, or none has ended."""
        if self.code is None or self._row >= self._restarts:
            return False
        pause = min(2.0**self._row, LONGEST_PAUSE)
        self._row += 1
        logger.warning("%s %s; it is started again in %g s", self.name, describe(self.code), pause)
        self._due, self.code = time.monotonic() + pause, None
        return True

    def send(self, line: str) -> None:
        """Writes a line to the process' standard input; one that is not running is told nothing."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(line.encode() + b"\n")

    def stop(self, seconds: float = 5.0) -> None:
        """Ends the process, by force after `seconds`; it is not started again."""
        self._due = None
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def last_words(self) -> str:
        """Path of its log, and the log's last line."""
        if self.log is None or not self.log.exists():
            return str(self.log)
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{self.log}: {lines[-1]}" if lines else str(self.log)

    def _start(self, now: float) -> None:
        self._due, self._began = None, now
        with self._output() as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                bufsize=0,
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which ends the others in order
            )

    def _output(self) -> contextlib.AbstractContextManager[IO | None]:
        if self.log is None:
            return contextlib.nullcontext()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return open(self.log, "ab")

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process = None


def describe(code: int) -> str:
    """Meaning of a process' exit code, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"
