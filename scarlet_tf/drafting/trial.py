"""Timing of a supernet's step as in a run: `python -m scarlet_tf.drafting.trial` reads and prints JSON.

It has its own process, so that `scarlet init` itself imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time

import keras
import numpy as np
import psutil

from scarlet_tf.config import Config, parse_config
from scarlet_tf.data.datasets import preprocessing_of
from scarlet_tf.data.images import ArrayImages
from scarlet_tf.data.splits import IndexedSplit
from scarlet_tf.training.loop import LEAST_REHEARSED
from scarlet_tf.training.supernet import new_supernet, train_supernet


class _Measured(Exception):
    """Signal that the seconds are known and no step is needed."""


class _Stopwatch(keras.callbacks.Callback):
    rehearsal_seconds = 10.0  # on a busy machine the steps' times vary in waves

    def on_train_begin(self, logs=None):
        self.started = time.time() - psutil.Process().create_time()

    def on_rehearsal(self, first, seconds):
        raise _Measured(self.started, first, seconds)


def measure(config: Config, num_classes: int, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Measure seconds: from this process' start to the training, of the step's first call, of a later one.

    shape: (height, width) of the noise that stands in for images.
    """
    size, batch = config.data.image_size, config.supernet.batch_size
    supernet = new_supernet(config.supernet, config.space, (size, size, 3), num_classes)
    images = np.random.default_rng(0).integers(0, 256, (batch, *shape, 3), np.uint8)
    labels = np.arange(batch) % num_classes
    split = IndexedSplit(ArrayImages(images), np.arange(batch), labels, preprocessing_of(config.data))
    long = dataclasses.replace(config.supernet, epochs=LEAST_REHEARSED, warmup_epochs=0, monitor_paths=0)
    try:
        train_supernet(supernet, split, long, callbacks=[_Stopwatch()])
    except _Measured as found:
        return found.args
    raise RuntimeError("the training loop tried no steps, as with several GPUs")


def main() -> None:
    """Print the seconds, after all output of libraries."""
    asked = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(parse_config(asked["config"], "trial"), asked["num_classes"], tuple(asked["shape"]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
