"""The parent's side of the worker: starts it, feeds it batches, shows its progress, and reports its failures."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import write_json
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.data.inputs import as_split, training_batches
from scarlet_tf.export.metadata import image_shape
from scarlet_tf.models.network import Network, get_arrays
from scarlet_tf.optimization.config import check_extra
from scarlet_tf.optimization.worker import read_message, write_message

logger = logging.getLogger("scarlet_tf")
_TAIL_BYTES = 4000


class Worker:
    """A running worker; `call` sends a command with arrays and returns the reply."""

    def __init__(self, process: subprocess.Popen, log: pathlib.Path):
        assert process.stdin is not None and process.stdout is not None  # both are pipes
        self._process, self._log = process, log
        self._requests, self._answers = process.stdin, process.stdout

    def call(self, command: str, *arrays: np.ndarray) -> dict:
        """Call a command; InputError if the worker found bad input, RuntimeError if it failed or was killed."""
        with contextlib.suppress(BrokenPipeError):  # its output before it ended is still to be read
            write_message(self._requests, {"command": command}, *arrays)
        answer = read_message(self._answers)
        if answer is None:
            code = self._process.wait()
            raise RuntimeError(f"the worker of tf_keras ended with code {code} at {command!r}: {self._last_words()}")
        found = answer[0]
        if "error" in found:
            logger.debug("worker of tf_keras: %s", self._last_words())
            raise InputError(found["error"]) if found["input"] else RuntimeError(found["error"])
        return found

    def _last_words(self) -> str:
        return self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()


@contextlib.contextmanager
def new_worker(task: str, model: Network, settings: Mapping, identity: Mapping, checkpoints=None) -> Iterator[Worker]:
    """A worker for `task` on the network's spec and weights; it ends with the block, or when this process is killed.

    identity: facts that checkpoints must match beside the network; checkpoints: their folder, None to keep none.
    """
    check_extra()
    with tempfile.TemporaryDirectory(prefix="scarlet_tf-") as name:
        folder = pathlib.Path(name)
        arrays: dict[str, Any] = get_arrays(model)
        np.savez(folder / "weights.npz", **arrays)
        job = {
            "task": task,
            "spec": model.spec.to_dict(),
            "settings": dict(settings),
            "identity": {**identity, "task": task, "network": model.spec.to_dict(), "weights_crc": _crc(arrays)},
            "checkpoints": str(pathlib.Path(checkpoints or folder / "checkpoints").resolve()),
        }
        write_json(folder / "job.json", job)
        log = folder / "log.txt"
        with log.open("wb") as stderr, _process(folder / "job.json", stderr) as process:
            yield Worker(process, log)


def train(worker: Worker, split, config, seed: int, name: str) -> list[dict]:
    """Train the epochs that are not done yet; return the figures of all epochs."""
    steps = split.steps_per_epoch(config.batch_size)
    history = worker.call("restore")["history"]
    with progress_bar(name, config.epochs * steps, len(history) * steps) as bar:
        for epoch in range(len(history), config.epochs):
            for images, labels in training_batches(split, config.batch_size, seed, epoch, 0, (0, 1)):
                bar.advance(**worker.call("step", images.numpy(), labels.numpy()))
            history.append(worker.call("end_epoch"))
            figures = " ".join(f"{key} {value:.4g}" for key, value in history[-1].items())
            logger.info("%s epoch %d/%d %s", name, epoch + 1, config.epochs, figures)
    return history


def training_split(model, data, batch_size: int, section: str):
    """`data` as a split; InputError unless `model` is a Network that returns float32 logits and there is a batch."""
    if not isinstance(model, Network):
        raise InputError(f"model: expected a Network, such as from fold or retrain, got {type(model).__name__}")
    if model.spec.num_classes is None or model.spec.classifier_activation is not None:
        raise InputError("model: expected one that returns logits: with a classifier, without an activation")
    image_shape(model)
    split = as_split(data, model.spec.num_classes)
    if split.steps_per_epoch(batch_size) < 1:
        raise InputError(
            f"{section}.batch_size: expected at most the {split.num_examples} training images, got {batch_size}"
        )
    return split


@contextlib.contextmanager
def _process(job: pathlib.Path, stderr) -> Iterator[subprocess.Popen]:
    # In its own session, so that Ctrl+C reaches this process alone, which then ends the worker.
    process = subprocess.Popen(
        [sys.executable, "-m", "scarlet_tf.optimization.worker", str(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):  # for data that was not sent any more
                if stream is not None:
                    stream.close()


def _crc(arrays: Mapping[str, np.ndarray]) -> int:
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(arrays[name].tobytes(), crc)
    return crc
