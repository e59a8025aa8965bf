"""Operations with a gradient of their own, in eager code, under a tape and in graphs that are not kept."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import tensorflow as tf

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
