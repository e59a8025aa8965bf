"""Checks of TensorFlow, Keras and the devices they see."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from scarlet_tf import host
from scarlet_tf.doctor.finding import OK, PROBLEM, WARNING, Finding
from scarlet_tf.errors import InputError

_GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"


def check_tensorflow() -> Iterator[Finding]:
    """Check that TensorFlow can be imported and computes."""
    try:
        import tensorflow as tf
    except Exception as error:  # a broken installation may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        yield Finding(
            "tensorflow", PROBLEM, f"cannot be imported: {reason}", "pip install --force-reinstall tensorflow"
        )
        return
    total = float(tf.reduce_sum(tf.matmul(tf.ones([8, 8]), tf.ones([8, 8]))))
    status = OK if total == 8**3 else PROBLEM
    yield Finding(
        "tensorflow",
        status,
        f"{tf.__version__} calculates" if status == OK else f"{tf.__version__}: 512 became {total}",
    )


def check_keras() -> Iterator[Finding]:
    """Check that Keras 3 runs on TensorFlow in float32, which everything except layers and models needs."""
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        yield Finding("keras", PROBLEM, "TF_USE_LEGACY_KERAS makes TensorFlow use Keras 2", "unset TF_USE_LEGACY_KERAS")
    try:
        host.check()
        import keras
    except InputError as error:
        found, _, advice = str(error).partition("; ")
        yield Finding("keras", PROBLEM, found, advice)
        return
    yield Finding("keras", OK, f"{keras.__version__} on TensorFlow")


def check_devices() -> Iterator[Finding]:
    """List GPUs, or possible reasons for their absence."""
    import tensorflow as tf

    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    if gpus:
        grows = os.environ.get(_GROWTH, "").lower() == "true"
        found = f"{', '.join(gpus)}; a process takes {'memory as it needs it' if grows else 'all of the memory'}"
        yield Finding("devices", OK, found, "" if grows else f"to share a GPU: export {_GROWTH}=true")
    elif shutil.which("nvidia-smi"):
        text = "nvidia-smi is there, but TensorFlow sees no GPU"
        yield Finding("devices", WARNING, text, "pip install 'tensorflow[and-cuda]', then: nvidia-smi")
    else:
        yield Finding("devices", OK, "no GPU: processors train; configs for small images are meant for that")
