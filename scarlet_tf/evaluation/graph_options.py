"""TensorFlow's graph optimisations of a training step."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import tensorflow as tf

# Passes that cost a supernet's first step time and have little to find in it: shapes and constants are static, and there is
# no layout to choose on a CPU. Fusing (`remapping`) stays: without it steps take longer.
IDLE_PASSES = (
    "arithmetic_optimization",
    "constant_folding",
    "dependency_optimization",
    "function_optimization",
    "layout_optimizer",
    "loop_optimization",
    "shape_optimization",
)


@contextlib.contextmanager
def quick_to_first_step() -> Iterator[None]:
    """Leaves IDLE_PASSES out for all functions that are first called inside; on machines without a GPU only.

    TensorFlow keeps these options for the whole process; what the caller had set is put back at the end.
    """
    if tf.config.list_physical_devices("GPU"):  # there the layout matters, and none of this was measured
        yield
        return
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(dict.fromkeys(IDLE_PASSES, False))
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before.get(name, True) for name in IDLE_PASSES})


@functools.cache
def unoptimized() -> bytes:
    """Return what tells a PartitionedCall to leave graph optimisation out, on machines without a GPU.

    In functions as small as a layer it finds nothing that is worth the time that it takes for each of them. A serialized
    ConfigProto, the operation's attribute `config_proto`.
    """
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = not tf.config.list_physical_devices("GPU")
    return config.SerializeToString()
