"""Messages between a process and its worker: a line of JSON, followed by arrays as plain bytes."""

from __future__ import annotations

import json
import math
from typing import IO

import numpy as np


def write_message(stream: IO[bytes], message: dict, *arrays: np.ndarray) -> None:
    """Write one message with its arrays, and flush."""
    kinds = [(array.dtype.str, array.shape) for array in arrays]
    stream.write(json.dumps({**message, "arrays": kinds}).encode() + b"\n")
    for array in arrays:
        stream.write(np.ascontiguousarray(array).data)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict, list[np.ndarray]] | None:
    """Read the next message with its arrays; None if the other side has closed the stream, or died in the middle."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    message, arrays = json.loads(line), []
    for kind, shape in message.pop("arrays"):
        size = math.prod(shape) * np.dtype(kind).itemsize
        content = stream.read(size)
        if len(content) < size:
            return None
        arrays.append(np.frombuffer(content, kind).reshape(shape))
    return message, arrays
