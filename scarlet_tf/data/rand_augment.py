"""RandAugment: a few random operations an image, each a Keras preprocessing layer (Cubuk et al., arXiv:1909.13719).

keras.layers.RandAugment draws its operations once for a whole batch, computes all of them to keep two, turns by up to
`factor` full circles, and takes no seed from outside. So the layers it consists of are used here one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from scarlet_tf.data.seeds import KeySeeds

_GREY = 127.5


def rand_augment(pixels: tf.Tensor, seed: tf.Tensor, num_operations: int, magnitude: float) -> tf.Tensor:
    """Apply `num_operations` random ones of the paper's 14 to float32 [H, W, 3] in 0..255; a function of `seed` [2].

    magnitude: 0 to 10; at 10 an operation is as strong as it ever is in AutoAugment: 30 degrees, a shear of 0.3, a shift
    by 0.45 of the side. The strength is drawn uniformly up to that (a reading: the paper fixes it and draws the sign), and
    brightness is added, where the paper multiplies. Pixels that move in are grey.
    """
    images, one_of_them = pixels[tf.newaxis], _one_of_them(magnitude)
    for number in range(num_operations):
        images = one_of_them(images, tf.random.fold_in(seed, number))
    return images[0]


@functools.cache
def _one_of_them(magnitude: float) -> tf.types.experimental.PolymorphicFunction:
    """One random operation, traced once per size, not once per epoch: the branches take seconds to trace."""
    candidates = operations(magnitude)

    def apply(images, seed):
        seeds = tf.random.split(seed, 2)
        drawn = tf.random.stateless_uniform([], seeds[0], 0, len(candidates), tf.int32)
        branches = [functools.partial(operation, images, seeds[1]) for operation in candidates]
        return tf.ensure_shape(tf.switch_case(drawn, branches), images.shape)

    return tf.function(apply, autograph=False)


@functools.cache
def operations(magnitude: float) -> tuple[Callable, ...]:
    """The 14 operations as functions of (float32 [1, H, W, 3] in 0..255, seed [2])."""
    share = magnitude / 10
    layers, common = keras.layers, {"dtype": "float32", "data_format": "channels_last"}
    moved = {"fill_mode": "constant", "fill_value": _GREY, **common}
    colour = {"value_range": (0, 255), **common}
    with tf.init_scope():  # the layers own variables, although none is used
        return (
            lambda images, seed: tf.identity(images),
            _solarize(layers.Solarization(**colour), share),
            *map(
                _apply,
                (
                    layers.AutoContrast(**colour),
                    layers.Equalization(**colour),
                    layers.RandomRotation((-share / 12, share / 12), **moved),
                    layers.RandomPosterization((8 - round(4 * share), 8), **colour),
                    layers.RandomColorDegeneration((0.0, 0.9 * share), **colour),
                    layers.RandomContrast((0.9 * share, 0.9 * share), **colour),
                    layers.RandomBrightness((-0.45 * share, 0.45 * share), **colour),
                    layers.RandomSharpness((0.5 - 0.45 * share, 0.5 + 0.45 * share), **colour),
                    layers.RandomShear(0.3 * share, 0.0, **moved),
                    layers.RandomShear(0.0, 0.3 * share, **moved),
                    layers.RandomTranslation(0.0, (-0.45 * share, 0.45 * share), **moved),
                    layers.RandomTranslation((-0.45 * share, 0.45 * share), 0.0, **moved),
                ),
            ),
        )


def _apply(layer) -> Callable:
    def operation(images, seed):
        drawn = layer.get_random_transformation(images, training=True, seed=KeySeeds(seed))
        return layer.transform_images(images, drawn, training=True)

    return operation


def _solarize(layer, share: float) -> Callable:
    """Invert the levels above a threshold; the layer's own draw has no lower end but 0."""

    def operation(images, seed):
        threshold = 256 * (1 - share * tf.random.stateless_uniform([1, 1, 1, 1], seed))
        drawn = {"additions": tf.zeros([1, 1, 1, 1]), "thresholds": threshold}
        return layer.transform_images(images, drawn, training=True)

    return operation
