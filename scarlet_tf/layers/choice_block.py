"""ChoiceBlock: all candidates of one searchable layer; the caller selects the one that runs."""

from __future__ import annotations

import keras

from scarlet_tf.errors import InputError


@keras.saving.register_keras_serializable(package="scarlet_tf")
class ChoiceBlock(keras.layers.Layer):
    """Candidates of equal output shape; `call` runs the one with the given index.

    Nothing here remembers an active choice: the index is an argument, so one traced graph serves all of them. An
    index out of range is clamped by `keras.ops.switch`; `Supernet` refuses it before it gets here.

    Args:
        candidates: Keras layers that are called with `x` [B, H, W, C] and `training`.
    """

    def __init__(self, candidates, **kwargs):
        super().__init__(**kwargs)
        self.candidates = list(candidates)
        if not self.candidates:
            raise ValueError("candidates: expected at least one layer, got none")

    def build(self, x_shape, choice_shape=()):
        for candidate in self.candidates:
            if not candidate.built:
                candidate.build(x_shape)
        self.built = True

    def run(self, index: int, x, training=False):
        """The output of candidate `index`, a Python integer: no control flow."""
        return self.candidates[index](x, training=training)

    def call(self, x, choice, training=False):
        _check_scalar(keras.ops.shape(choice))
        branches = [lambda x, i=i: self.run(i, x, training) for i in range(len(self.candidates))]
        return keras.ops.switch(choice, branches, x)

    def compute_output_shape(self, x_shape, choice_shape=()):
        _check_scalar(choice_shape)
        return self.candidates[0].compute_output_shape(x_shape)

    def get_config(self):
        candidates = [keras.saving.serialize_keras_object(candidate) for candidate in self.candidates]
        return {**super().get_config(), "candidates": candidates}

    @classmethod
    def from_config(cls, config):
        candidates = [keras.saving.deserialize_keras_object(c) for c in config.pop("candidates")]
        return cls(candidates, **config)


def _check_scalar(shape) -> None:
    if len(shape):
        raise InputError(f"choice: expected one integer, of shape (), got shape {tuple(shape)}")
