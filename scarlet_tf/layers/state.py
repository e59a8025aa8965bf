"""State that layers change while they run, kept free of JAX's tracers."""

from __future__ import annotations

import keras

from scarlet_tf.errors import InputError


def assign(variable, value, what: str) -> None:
    """Assigns `value` to a layer's variable; `what` says in an error what would have changed it."""
    before = variable.value
    variable.assign(value)
    refuse_tracer(variable, before, what)


def refuse_tracer(variable, before, what: str) -> None:
    """InputError where `variable` was left a JAX tracer; it then has its value `before` again.

    Under jax.jit a variable may only be changed inside `keras.StatelessScope`, as `stateless_call` and `fit` do. Outside, it
    would hold a value of the trace, and whatever reads it next would fail with JAX's UnexpectedTracerError.
    """
    if keras.backend.backend() != "jax":
        return
    try:
        with keras.StatelessScope():  # a new one: what is seen here is what the variable itself holds
            held = variable.value
    except TypeError:  # nothing: Keras' fit keeps its values elsewhere, and a scope around all calls
        return
    if held is not variable.value:
        return  # a scope took the value
    try:
        keras.ops.convert_to_numpy(held)
    except TypeError as error:
        variable.assign(before)
        raise InputError(
            f"{what}: expected stateless_call, or Keras' fit, inside a function that JAX traces, got a direct call, which"
            f" would leave a tracer in {variable.path}"
        ) from error
