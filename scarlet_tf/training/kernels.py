"""TensorFlow's own operations where keras.ops has none that are as fast; importing this module puts them to use."""

from __future__ import annotations

import tensorflow as tf

from scarlet_tf.layers import batch_norm


def fused_batch_norm(x, gamma, beta, epsilon: float):
    """`layers.batch_norm.normalize` by FusedBatchNormV3, which computes statistics and gradient in one kernel each."""
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    )
    # The operation answers the unbiased variance; Keras keeps the biased one.
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance * ((count - 1.0) / count))


batch_norm.use_kernel("tensorflow", fused_batch_norm)
