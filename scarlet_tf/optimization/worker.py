"""The process that runs tf_keras and tfmot: python -m scarlet_tf.optimization.worker JOB.json

It reads messages from stdin, replies to each on stdout, and ends when stdin does, so it never outlives its parent.
Libraries' output goes to stderr. TF_USE_LEGACY_KERAS=1 has to be in its environment.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import sys
import traceback
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.space.spec import NetworkSpec


def main(job_file: str) -> int:
    """Serve one parent; return the exit code."""
    messages, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        commands = _commands(read_json(job_file), pathlib.Path(job_file).parent)
        while (message := read_message(messages)) is not None:
            request, arrays = message
            write_message(answers, commands[request["command"]](*arrays))
    except BrokenPipeError:
        return 0  # the parent has closed the pipe
    except Exception as error:
        traceback.print_exc()
        write_message(answers, {"error": str(error), "input": isinstance(error, InputError)})
        return 1
    return 0


def _commands(job: dict, folder: pathlib.Path) -> dict[str, Callable]:
    import tf_keras

    from scarlet_tf.optimization.tasks import Pruning, QuantizationAware, Trainer

    tf_keras.backend.set_image_data_format("channels_last")  # regardless of keras.json
    tf_keras.utils.set_random_seed(job["settings"]["seed"])  # for dropout
    with np.load(folder / "weights.npz") as archive:
        arrays = dict(archive)
    task_types: dict[str, type[QuantizationAware | Pruning]] = {
        "quantization_aware": QuantizationAware,
        "pruning": Pruning,
    }
    task = task_types[job["task"]](NetworkSpec.from_dict(job["spec"]), arrays, job["settings"])
    trainer = Trainer(task, job["settings"], job["checkpoints"], job["identity"])

    def write() -> dict:
        path = folder / f"result{task.SUFFIX}"
        task.write(path)
        return {"path": str(path)}

    commands: dict[str, Callable[..., Any]] = {
        "restore": lambda: {"history": trainer.restore()},
        "step": trainer.step,
        "end_epoch": trainer.end_epoch,
        "write": write,
    }
    if isinstance(task, QuantizationAware):
        commands |= {"measure": task.measure, "end_round": task.end_round}
    return commands


# -- Messages between a process and its worker: a line of JSON, followed by arrays as plain bytes ------------------


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
