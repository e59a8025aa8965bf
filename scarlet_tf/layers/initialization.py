"""Initial weights as in the published code, reproducible layer by layer.

Convolutions: N(0, sqrt(2 / (k * k * c_out))), depthwise ones with c_out = their channels; classifier:
U(-1/sqrt(c_in), 1/sqrt(c_in)). Each layer's draw depends on the seed and the layer's name alone, so it does not
change when other layers are added, removed or built in another order.
"""

from __future__ import annotations

import math
import zlib

import keras


def derived_seed(seed: int | None, name: str) -> int | None:
    """A seed for the layer `name`, or None (a random one) when `seed` is None. Zero is a valid seed."""
    return None if seed is None else zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def conv_initializer(kernel_size: int, out_channels: int, seed: int | None, name: str):
    """N(0, sqrt(2 / (k * k * c_out)))."""
    stddev = math.sqrt(2.0 / (kernel_size**2 * out_channels))
    return keras.initializers.RandomNormal(0.0, stddev, seed=derived_seed(seed, name))


def classifier_initializer(in_channels: int, seed: int | None, name: str):
    """U(-1/sqrt(c_in), 1/sqrt(c_in)), for kernel and bias."""
    limit = 1.0 / math.sqrt(in_channels)
    return keras.initializers.RandomUniform(-limit, limit, seed=derived_seed(seed, name))
