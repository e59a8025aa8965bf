"""Preparation: what one pass does to its images, from evaluation's crop to training's mixing."""

from __future__ import annotations

import tensorflow as tf

from scarlet_tf.data.decoding import decode
from scarlet_tf.data.passes import Pass
from scarlet_tf.data.policy import Policy
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.data.seeds import pass_key


class Preparation:
    """One pass' preparation; random numbers follow from (seed, epoch) and the example's position or the batch's number.

    A worker's rows are therefore bit by bit those of the whole batch. Mixing is the exception: a worker mixes its own rows
    with one another, and its number is part of the key.
    """

    def __init__(self, preprocessing: Preprocessing, policy: Policy | None, plan: Pass):
        self._preprocessing, self._plan = preprocessing, plan
        self._training = plan.shuffle is not None
        self._policy = policy if self._training else None
        if plan.shuffle is not None:
            self._crop_key, self._policy_key, self._mix_key = (pass_key(plan.shuffle, purpose) for purpose in (1, 2, 3))
        if self._policy is not None:
            self._policy.prepare()

    @property
    def takes_batches(self) -> bool:
        """True if `batch` can be used; otherwise images have to come one by one."""
        single = self._policy is not None and self._policy.distorts_images
        return not single and (self._preprocessing.augments_batches or not self._training)

    def image(self, image: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """uint8 [H, W, C] to float32 [S, S, 3]."""
        if not self._training:
            return self._preprocessing.prepare(image)
        return self._finish(self._preprocessing.distort(image, _fold(self._crop_key, position)), position)

    def encoded(self, encoded: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """The same from an encoded image, a scalar string."""
        if not self._training:
            return self._preprocessing.prepare(decode(encoded))
        pixels = self._preprocessing.decode_and_distort(encoded, _fold(self._crop_key, position))
        return self._finish(pixels, position)

    def batch(self, images: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """uint8 [B, H, W, C] to float32 [B, S, S, 3], for positions [B] that follow one another."""
        if not self._training:
            return self._preprocessing.prepare(images)
        number, first = positions[0] // self._plan.batch_size, positions[0] % self._plan.batch_size
        left = self._plan.num_examples - number * self._plan.batch_size
        size = tf.minimum(left, tf.constant(self._plan.batch_size, left.dtype))
        rows = (tf.cast(first, tf.int32), tf.cast(size, tf.int32))
        pixels = self._preprocessing.distort(images, _fold(self._crop_key, number), rows)
        return self._preprocessing.normalize(pixels)

    def mixed(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Batches (images, labels [B]), the first with number `plan.skip`, mixed where the policy says so."""
        policy = self._policy
        if policy is None or not policy.mixes:
            return dataset

        def mix(number, batch):
            images, labels = batch
            return policy.mix(images, labels, _fold(_fold(self._mix_key, number), self._plan.shard[0]))

        return dataset.enumerate(self._plan.skip).map(mix, tf.data.AUTOTUNE)

    def _finish(self, pixels: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        if self._policy is not None and self._policy.distorts_images:
            pixels = self._policy.distort(pixels, _fold(self._policy_key, position))
        return self._preprocessing.normalize(pixels)


def _fold(key, number) -> tf.Tensor:
    return tf.random.fold_in(key, tf.cast(number, tf.int32))
