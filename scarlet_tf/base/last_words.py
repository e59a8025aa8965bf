"""A watching process: prints another process' held-back lines if that one dies without releasing them.

    python -I -S last_words.py

Native code that aborts, and a kernel that is out of memory, run no handler of Python. So another process prints the lines:
standard input is a pipe that ends with the watched process, for any reason. Each of its lines is the JSON list [path,
start, temporary]: the file's bytes from `start` on are held back; if `start` is null, they are released.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

TAIL_BYTES, TAIL_LINES = 8000, 30
ENDED = (
    "the process ended without a message: native code stopped it, or it was killed from outside, as Linux does"
    " where memory runs out"
)


def main() -> None:
    """Follow standard input to its end."""
    held: dict[str, tuple[int, bool]] = {}
    for line in sys.stdin.buffer:
        path, start, temporary = json.loads(line)
        held.pop(path, None)
        if start is not None:
            held[path] = start, temporary
    if held:
        lines = [line for path, (start, temporary) in held.items() for line in tail(path, start, temporary)]
        text = f"scarlet: {ENDED}" + ("; its last lines:\n  " + "\n  ".join(lines) if lines else "")
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))


def tail(path: str, start: int, temporary: bool) -> list[str]:
    """The last lines of the file from `start` on; a temporary file is removed."""
    content = b""
    with contextlib.suppress(OSError):
        with open(path, "rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            content = file.read()
        if temporary:
            os.unlink(path)
    lines = content.decode(errors="backslashreplace").splitlines()
    # faulthandler's list of extension modules does not show the reason.
    lines = [line for line in lines if line.strip() and not line.startswith("Extension modules:")]
    return ["".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines[-TAIL_LINES:]]


if __name__ == "__main__":
    main()
