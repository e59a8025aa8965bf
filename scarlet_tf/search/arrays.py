"""Arrays as plain JSON and back, bit by bit."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np


def encode_array(array: np.ndarray) -> dict:
    """{"dtype", "shape", "base64"} of an array; the bytes are little-endian, whatever the machine is."""
    array = np.asarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "base64": data}


def decode_array(value: Mapping) -> np.ndarray:
    """Inverse of `encode_array`, as a new array."""
    dtype = np.dtype(value["dtype"])
    data = np.frombuffer(base64.b64decode(value["base64"]), dtype.newbyteorder("<"))
    return data.reshape(value["shape"]).astype(dtype)
