"""The layers of a built network by the part of its NetworkSpec that they belong to."""

from __future__ import annotations

import keras

from scarlet_tf.spec import NetworkSpec


def group_names(spec: NetworkSpec) -> tuple[str, ...]:
    """ "stem", the name of each block, "tail" and "classifier", from the image on."""
    return ("stem", *(block.name for block in spec.blocks), "tail", "classifier")


def layer_groups(model: keras.Model, spec: NetworkSpec) -> dict[str, list[keras.layers.Layer]]:
    """The layers of `model`, made from `spec` by the builder, under the names of `group_names`, in the builder's order.

    Layers without a name from the spec, such as zero-padded channels, are in no group; a block may have no layer at all. Dense
    layers between tail and classifier count as the classifier's.
    """
    groups: dict[str, list[keras.layers.Layer]] = {name: [] for name in group_names(spec)}
    for layer in model.layers:
        if layer.name in ("classifier", "head", "head_act"):
            groups["classifier"].append(layer)
            continue
        # Of "a" and "a_b", the second is meant by "a_b_expand".
        found = [name for name in groups if layer.name.startswith(f"{name}_")]
        if found:
            groups[max(found, key=len)].append(layer)
    return groups
