"""extract: one path of a supernet as a stand-alone Keras model with that path's weights, LETs in place."""

from __future__ import annotations

import keras

from scarlet_tf.models.network import Arrays, Network, set_arrays
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space import Architecture


def extract(supernet: Supernet, architecture: Architecture) -> Network:
    """A model that answers what `supernet(images, architecture)` answers; `.spec` says what it consists of.

    Raises InputError when the architecture's space has other layers or choices than the supernet's.
    """
    architecture = architecture.within(supernet.space)
    spec = architecture.lower(supernet.image_shape, supernet.num_classes, skip=supernet.skip)
    network = Network(spec)
    set_arrays(network, path_arrays(supernet, architecture))
    return network


def path_arrays(supernet: Supernet, architecture: Architecture) -> Arrays:
    """The weights of one path under the names they have in a stand-alone network."""
    arrays = _named(supernet.stem, "stem") | _named(supernet.tail, "tail")
    for layer, block, choice in zip(supernet.space.layers, supernet.choice_blocks, architecture.choices, strict=True):
        arrays |= _named(block.candidates[choice], layer.name)
    return arrays


def _named(layer, prefix: str) -> Arrays:
    arrays: Arrays = {}
    for name, part in layer.parts().items():
        full = name if name == "classifier" else f"{prefix}_{name}"
        arrays |= {f"{full}/{weight.name}": keras.ops.convert_to_numpy(weight) for weight in part.weights}
    return arrays
