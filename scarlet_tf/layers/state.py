"""Layer state that changes during a call, kept free of JAX's tracers."""

from __future__ import annotations

import keras

from scarlet_tf.errors import InputError


def assign(variable, value, what: str) -> None:
    """Assign `value` to a layer's variable; `what` says in an error what would have changed it."""
    before = variable.value
    variable.assign(value)
    refuse_tracer(variable, before, what)


def refuse_tracer(variable, before, what: str) -> None:
    """Raise InputError if `variable` was left a JAX tracer; its value `before` is then restored.

    Under jax.jit a variable may only be changed inside `keras.StatelessScope`, as `stateless_call` and `fit` do. Outside, it
    would hold a value of the trace, and the next read would fail with JAX's UnexpectedTracerError.
    """
    if keras.backend.backend() != "jax":
        return
    try:
        with keras.StatelessScope():  # a new one, which shows the value that the variable itself holds
            held = variable.value
    except TypeError:  # nothing: Keras' fit stores its values elsewhere, in a scope around all calls
        return
    if held is not variable.value:
        return  # a scope holds the value
    try:
        keras.ops.convert_to_numpy(held)
    except TypeError as error:
        variable.assign(before)
        raise InputError(
            f"{what}: expected stateless_call, or Keras' fit, inside a function that JAX traces, got a direct call, which"
            f" would leave a tracer in {variable.path}"
        ) from error
