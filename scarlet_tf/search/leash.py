"""The pipe between a launcher and a process it started: names of lost workers, and the launcher's own end."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from scarlet_tf import streams

logger = logging.getLogger("scarlet_tf")
VARIABLE = "SCARLET_LAUNCHER"  # "stdin" in a process whose standard input is the launcher's pipe


def follow_launcher(on_line: Callable[[str], None]) -> None:
    """If a launcher started this process, end it when the launcher ends for any reason, and pass lines on."""
    if os.environ.get(VARIABLE) == "stdin":
        threading.Thread(target=_follow, args=(on_line,), name="launcher", daemon=True).start()


def _follow(on_line: Callable[[str], None]) -> None:
    # Not sys.stdin: Python cannot end while a thread waits in it.
    held = b""
    while part := os.read(0, 4096):
        *lines, held = (held + part).split(b"\n")
        for line in lines:
            on_line(line.decode())
    logger.error("the launcher is gone; this process ends, and the same command resumes")
    streams.leave()
    os._exit(1)  # the main thread may be deep in TensorFlow; what is on disk is always whole
