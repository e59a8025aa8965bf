"""Policy: the strong distortions of training images that go beyond cropping, made of Keras' preprocessing layers."""

from __future__ import annotations

import dataclasses
import functools

import keras
import tensorflow as tf

from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.rand_augment import operations, rand_augment
from scarlet_tf.data.seeds import KeySeeds


@dataclasses.dataclass(frozen=True)
class Policy:
    """The distortions that `data.rand_augment`, `random_erasing`, `mixup` and `cutmix` configure, for `num_classes` classes.

    Made from a DataConfig, which has checked the ranges. Everything is a pure function of its arguments.
    """

    num_classes: int
    rand_augment: int = 0
    rand_augment_magnitude: float = 9.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def distorts_images(self) -> bool:
        """True if single images are changed."""
        return bool(self.rand_augment or self.random_erasing)

    @property
    def mixes(self) -> bool:
        """True if images of a batch are mixed, which makes labels float32 [B, num_classes]."""
        return bool(self.mixup or self.cutmix)

    def prepare(self) -> None:
        """Make the layers, outside of any graph."""
        operations(self.rand_augment_magnitude)
        _layers(self.random_erasing, self.mixup, self.cutmix)

    def distort(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """RandAugment, then random erasing, of one image: float32 [S, S, 3] in 0..255, seed [2].

        Erased rectangles (Keras' sizes) become grey, which "inception" normalisation makes 0.
        """
        seeds = tf.random.split(seed, 2)
        if self.rand_augment:
            pixels = rand_augment(pixels, seeds[0], self.rand_augment, self.rand_augment_magnitude)
        if self.random_erasing:
            erasing, images = self._layer("random_erasing"), pixels[tf.newaxis]
            drawn = erasing.get_random_transformation(images, training=True, seed=KeySeeds(seeds[1]))
            pixels = tf.ensure_shape(erasing.transform_images(images, drawn, training=True)[0], pixels.shape)
        return pixels

    def mix(self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mix float32 [B, S, S, 3] with one another; int labels [B] become float32 [B, num_classes].

        With both mixup and cutmix a batch gets one of them, each with probability 1/2.
        """
        seeds = tf.random.split(seed, 2)
        targets = tf.one_hot(labels, self.num_classes)

        def apply(name):
            layer = self._layer(name)
            drawn = layer.get_random_transformation(images, training=True, seed=KeySeeds(seeds[1]))
            mixed = layer.transform_images(images, drawn, training=True)
            shares = layer.transform_labels(targets, drawn, training=True)
            return tf.ensure_shape(mixed, images.shape), tf.ensure_shape(shares, targets.shape)

        if self.mixup and self.cutmix:
            first = tf.random.stateless_uniform([], seeds[0]) < 0.5
            return tf.cond(first, lambda: apply("mixup"), lambda: apply("cutmix"))
        return apply("mixup" if self.mixup else "cutmix")

    def _layer(self, name: str):
        return _layers(self.random_erasing, self.mixup, self.cutmix)[name]


def policy_of(config: DataConfig, num_classes: int) -> Policy | None:
    """The policy that `config` asks for; None where all of it is off."""
    keys = [field.name for field in dataclasses.fields(Policy) if field.name != "num_classes"]
    policy = Policy(num_classes, **{key: getattr(config, key) for key in keys})
    return policy if policy.distorts_images or policy.mixes else None


@functools.cache
def _layers(random_erasing: float, mixup: float, cutmix: float) -> dict[str, keras.layers.Layer]:
    common = {"dtype": "float32", "data_format": "channels_last"}
    with tf.init_scope():  # the layers own variables, although none is used
        return {
            "random_erasing": keras.layers.RandomErasing(
                (random_erasing, random_erasing), fill_value=127.5, value_range=(0, 255), **common
            ),
            "mixup": keras.layers.MixUp(mixup, **common),
            "cutmix": keras.layers.CutMix((cutmix, cutmix), **common),
        }
