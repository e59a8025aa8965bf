"""Operations that move lanes (tensors carried side by side), with gradients summed in a fixed order or not at all."""

from __future__ import annotations

import keras


def fan_out(x, count: int) -> list:
    """`count` times x, for as many readers; their gradients are added up in one fixed order."""
    ops = keras.ops
    return ops.unstack(ops.repeat(ops.expand_dims(x, 0), count, axis=0), num=count)


def reorder(lanes, forward, backward):
    """The list lanes[forward[0]], lanes[forward[1]], ...; `backward` is the inverse permutation."""
    ops = keras.ops
    return ops.unstack(permute(ops.stack(lanes), forward, backward), num=len(lanes), axis=0)


def permute(stacked, forward, backward):
    """stacked[forward] along the first axis.

    The gradient of a gather along a permutation is the gather along its inverse. Stating it avoids the scatter that
    frameworks would use, which adds up rows that are all different.
    """
    ops = keras.ops

    @ops.custom_gradient
    def run(stacked):
        def grad(*args, upstream=None):
            return ops.take(args[0] if upstream is None else upstream, backward, axis=0)

        return ops.take(stacked, forward, axis=0), grad

    return run(stacked)
