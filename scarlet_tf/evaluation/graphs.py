"""TensorFlow's graphs: their optimisation in a training step, and gradients of an operation's own."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

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


# -- Operations with a gradient of their own, in eager code, under a tape and in graphs that are not kept ----------


_by_name = contextvars.ContextVar("by_name", default=False)
_names: set[str] = set()


def with_gradient(forward: Callable, gradients: Callable, kind: str) -> Callable:
    """Return `forward(*inputs) -> y` whose gradient is `gradients(*inputs, dy)`, which may use its inputs only.

    kind: a name, of which there is one pair of functions; letters, digits and underscores.
    """

    def run(*inputs):
        if not _by_name.get():
            return tf.custom_gradient(lambda *inputs: (forward(*inputs), lambda dy: gradients(*inputs, dy)))(*inputs)
        name = _registered(kind, gradients)
        with tf.compat.v1.get_default_graph().gradient_override_map({"IdentityN": name}):
            return tf.identity_n([forward(*inputs), *inputs])[0]

    return run


@contextlib.contextmanager
def found_by_name() -> Iterator[None]:
    """Inside, a graph is built whose gradients `tf.gradients` makes, and no tape.

    TensorFlow keeps the function of every `tf.custom_gradient` in a graph, the tensors that it closes over and so the whole
    graph for as long as the process lives. Here one function for each kind is kept, which closes over nothing.
    """
    token = _by_name.set(True)
    try:
        yield
    finally:
        _by_name.reset(token)


def _registered(kind: str, gradients: Callable) -> str:
    """Return the name by which TensorFlow finds the gradient of an IdentityN of y and all inputs."""
    name = f"scarlet_tf_{kind}"
    if name not in _names:
        _names.add(name)

        @tf.RegisterGradient(name)
        def gradient(operation, dy, *_):
            _, *inputs = operation.inputs
            return [None, *tf.nest.flatten(gradients(*inputs, dy))]

    return name
