"""Random keys of a pass, and a generator with which Keras' preprocessing layers draw from one of them."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def pass_key(shuffle: tuple[int, int], purpose: int) -> np.ndarray:
    """A random seed, int32 [2], for (seed, epoch); other purposes (1, 2, ...) give independent ones."""
    return np.random.SeedSequence((*shuffle, purpose)).generate_state(2).view(np.int32)


class KeySeeds(keras.random.SeedGenerator):
    """Seed generator for Keras' random functions whose seeds follow from one key, a tensor [2].

    Keras' layers take a whole number or a SeedGenerator. The first would be fixed when tf.data traces the function; the
    second keeps its state in a variable, which parallel calls change in any order and which a resumed run lacks.
    """

    def __init__(self, key: tf.Tensor):
        # The base class's is not called: there is no variable, and nothing that a checkpoint would have to hold.
        self._key = key
        self._drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """The next seed, int32 [2]: a function of the key and of how many were drawn before."""
        del ordered
        self._drawn += 1
        return tf.random.fold_in(self._key, self._drawn)
