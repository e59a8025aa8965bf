"""A lock around an oracle's methods that is let go of when one raises."""

from __future__ import annotations

import functools

import keras_tuner


def locked(method):
    """Like `keras_tuner.synchronized`, which does not let go of its lock when the method raises; this does."""

    @keras_tuner.synchronized
    def holding_the_lock(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs), None
        except BaseException as error:
            return None, error

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        value, error = holding_the_lock(self, *args, **kwargs)
        if error is not None:
            raise error
        return value

    return call
