"""Distillation: a Keras teacher's answers as a second target (Hinton et al., arXiv:1503.02531)."""

from __future__ import annotations

import pathlib

import keras
import tensorflow as tf

from scarlet_tf.errors import InputError


class Distillation:
    """T^2 * KL(teacher || student) at temperature T, summed over images and divided by the global batch size.

    The factor T^2 keeps the gradient's size when T is changed (section 2 of the paper).
    """

    def __init__(self, teacher: keras.Model, global_batch_size: int, temperature: float = 1.0):
        self.teacher, self.global_batch_size, self.temperature = teacher, global_batch_size, temperature
        self._answers_probabilities = answers_probabilities(teacher)

    def __call__(self, images, logits):
        """Images [B, H, W, C] as the student sees them, the student's logits [B, num_classes] -> this replica's share."""
        answer = tf.stop_gradient(tf.cast(self.teacher(images, training=False), tf.float32))
        if self._answers_probabilities:  # logarithms of probabilities are logits up to a constant, which softmax drops
            answer = tf.math.log(tf.maximum(answer, keras.backend.epsilon()))
        wanted = tf.nn.log_softmax(answer / self.temperature)
        found = tf.nn.log_softmax(tf.cast(logits, tf.float32) / self.temperature)
        divergence = tf.reduce_sum(tf.exp(wanted) * (wanted - found))
        return self.temperature**2 * divergence / self.global_batch_size


def load_teacher(path, input_shape: tuple[int, int, int], num_classes: int | None) -> keras.Model:
    """The model in a `.keras` file; InputError names `retrain.teacher` where it cannot be read or does not fit.

    It has to take images [B, H, W, C] of `input_shape`, normalised as the student's, and to answer logits or, where its
    last layer is a softmax, probabilities [B, num_classes].
    """
    if not pathlib.Path(path).is_file():
        raise InputError(f"retrain.teacher: expected a .keras file, got {str(path)!r}, which is none")
    try:
        teacher = keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever Keras, ZIP and HDF5 make of a torn or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"retrain.teacher: expected a .keras file, got {str(path)!r}: {reason}") from error
    teacher.trainable = False
    try:
        answer = tuple(teacher.compute_output_shape((1, *input_shape)))
    except Exception as error:  # a layer's own complaint about the shape
        raise InputError(
            f"retrain.teacher: expected one for images {list(input_shape)}, got {path}: {error}"
        ) from error
    given = getattr(teacher, "input_shape", None)
    fits = given is None or all(a in (None, b) for a, b in zip(given[1:], input_shape, strict=False))
    if not fits or answer != (1, num_classes):
        raise InputError(
            f"retrain.teacher: expected one for images {list(input_shape)} and {num_classes} classes,"
            f" got {path} for {given} with answers {answer}"
        )
    return teacher


def answers_probabilities(model: keras.Model) -> bool:
    """True if the model's last layer is a softmax; any other output is taken as logits."""
    last = model.layers[-1] if getattr(model, "layers", None) else model
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax
