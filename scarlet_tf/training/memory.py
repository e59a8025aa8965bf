"""Memory of this process, in bytes: what it has used at most, and what it can still have.

A container's limit (cgroup, version 1 or 2) counts like the machine's: past either, Linux kills the process without a word.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator

import numpy as np
import psutil
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.lowering import block_spec


def peak_bytes() -> int:
    """The greatest resident set so far; where the system does not keep it (it does on Linux), the present one."""
    with contextlib.suppress(OSError):
        found = re.search(
            r"^VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE
        )
        if found:
            return int(found[1]) * 1024
    return psutil.Process().memory_info().rss


def limit_bytes(root="/") -> int:
    """Memory of the machine or the limits of its containers, whichever is least; `root` as in `cgroup_limits`."""
    return min([psutil.virtual_memory().total, *cgroup_limits(root)])


def reachable_bytes() -> int:
    """The resident set that this process can grow to at the moment: what it has and what is free, within the limit."""
    own = psutil.Process().memory_info().rss
    return min(limit_bytes(), own + psutil.virtual_memory().available)


def cgroup_limits(root="/") -> list[int]:
    """The memory limits of the control groups that this process is in, innermost first; none outside Linux.

    `root`: where proc and sys are mounted.
    """
    root = pathlib.Path(root)
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [limit for line in lines for file in _limit_files(line, root) for limit in _limit(file)]


def _limit_files(line: str, root: pathlib.Path) -> Iterator[pathlib.Path]:
    """The files that may hold a limit, for one line `number:controllers:path` of /proc/self/cgroup."""
    _, controllers, path = line.split(":", 2)
    if controllers and "memory" not in controllers.split(","):
        return
    mount, name = root / "sys/fs/cgroup", "memory.max"
    if controllers:
        mount, name = mount / "memory", "memory.limit_in_bytes"
    group = mount / path.lstrip("/")
    yield group / name
    # A container sees its own group at the mount's top, whatever the path says.
    yield from (parent / name for parent in group.parents if parent.is_relative_to(mount))


def _limit(file: pathlib.Path) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):  # version 2 writes "max" where there is no limit
        yield int(file.read_text(encoding="utf-8"))


def gpu_names() -> list[str]:
    """The logical GPUs' names, such as "/device:GPU:0"."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def gpu_peak_bytes() -> int | None:
    """The most that any GPU has held at once; None without one."""
    return max((tf.config.experimental.get_memory_info(name)["peak"] for name in gpu_names()), default=None)


@contextlib.contextmanager
def out_of_memory_explained(name: str, advice: str) -> Iterator[None]:
    """Turns TensorFlow's error for memory that cannot be had, a GPU's above all, into an InputError with `advice`."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        first = str(error.message).splitlines()[0][:200]
        raise InputError(f"{name}: the memory does not suffice ({first}); use {advice}") from error


def variable_bytes(model, optimizer) -> int:
    """Bytes of a copy of all variables, as a checkpoint makes one."""
    return sum(4 * int(np.prod(variable.shape)) for variable in (*model.variables, *optimizer.variables))


# -- The memory that one supernet step needs at least, known before the first one ----------------------------------


def least_activation_bytes(supernet: Supernet, batch_size: int, execution: str, num_replicas: int = 1) -> int:
    """A lower bound, in bytes, of the activations that a step keeps for its backward pass, on one replica.

    Counted are the inputs of each block's first two batch normalisations, which their gradients read: the expanded
    tensor before and after the depthwise convolution. Everything else (activations, projections, gradients, the data)
    comes on top; a real step keeps several times as much.

    With `lanes` all choices of all layers are alive at once. With `sequential` one path is; among the paths of a fair
    step, one keeps at least the average.
    """
    space = supernet.space
    height, width = (-(-side // space.stem_stride) for side in supernet.image_shape[:2])
    elements = 0.0
    for layer in space.layers:
        after_height, after_width = -(-height // layer.stride), -(-width // layer.stride)
        specs = [block_spec(space, layer, choice, layer.in_channels, supernet.skip) for choice in space.choices]
        hidden = sum(getattr(spec, "hidden_channels", 0) for spec in specs)
        kept = hidden * (height * width + after_height * after_width)
        elements += kept if execution == "lanes" else kept / space.num_choices
        height, width = after_height, after_width
    return int(elements * batch_size / num_replicas) * tf.as_dtype(supernet.compute_dtype).size
