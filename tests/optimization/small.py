"""A small network with what is hard to quantise, and its images: squeeze-and-excitation, 7x7, a stride, a shortcut."""

import numpy as np
from tiny import images_and_labels, randomised, tiny_space

import scarlet_tf as st
from scarlet_tf.models.network import get_arrays, set_arrays


def make_network():
    """BN as after training: parameters drawn, statistics of the data."""
    rng = np.random.default_rng(0)
    network = st.build_network(st.Architecture((1, 1, 2, 0), tiny_space()), (8, 8, 3), 5, dropout=0.0, seed=0)
    arrays = randomised(get_arrays(network), rng)
    arrays |= {name: np.abs(array) for name, array in arrays.items() if name.endswith("/gamma")}
    set_arrays(network, arrays)
    for layer in network.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = 0.0
    network(make_data()[0], training=True)
    return network


def make_data(count=96):
    return images_and_labels(np.random.default_rng(1), count)


def logits(network, images):
    return np.asarray(network(images, training=False))
