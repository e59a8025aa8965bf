"""extract: one path of a supernet as a stand-alone Keras model with that path's weights, LETs in place."""

from __future__ import annotations

import keras

from scarlet_tf.models.network import Arrays, Network, set_arrays
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space import Architecture


def extract(supernet: Supernet, architecture: Architecture) -> Network:
    """A model with the outputs of `supernet(images, architecture)`; `.spec` is its NetworkSpec.

    Raises InputError when the architecture's space has other layers or choices than the supernet's.
    """
    architecture = architecture.within(supernet.space)
    spec = architecture.lower(supernet.image_shape, supernet.num_classes, skip=supernet.skip)
    network = Network(spec)
    set_arrays(network, path_arrays(supernet, architecture))
    return network


def path_arrays(supernet: Supernet, architecture: Architecture) -> Arrays:
    """The weights of one path under the names they have in a stand-alone network."""
    variables = path_variables(supernet, architecture)
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in variables.items()}


def path_variables(supernet: Supernet, architecture: Architecture) -> dict:
    """Return the variables of one path by the names they have in a stand-alone network."""
    variables = _named(supernet.stem, "stem") | _named(supernet.tail, "tail")
    for layer, block, choice in zip(supernet.space.layers, supernet.choice_blocks, architecture.choices, strict=True):
        variables |= _named(block.candidates[choice], layer.name)
    return variables


def _named(layer, prefix: str) -> dict:
    variables: dict = {}
    for name, part in layer.parts().items():
        full = name if name in ("classifier", "head") else f"{prefix}_{name}"
        variables |= {f"{full}/{weight.name}": weight for weight in part.weights}
    return variables
