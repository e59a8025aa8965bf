"""The memory that one supernet step needs at least, known before the first one."""

from __future__ import annotations

import tensorflow as tf

from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space import block_spec


def least_activation_bytes(supernet: Supernet, batch_size: int, execution: str, num_replicas: int = 1) -> int:
    """A lower bound, in bytes, of the activations that a step keeps for its backward pass, on one replica.

    Counted are the inputs of each block's first two batch normalisations, which their gradients read: the expanded
    tensor before and behind the depthwise convolution. Everything else (activations, projections, gradients, the data)
    comes on top; a real step keeps several times as much.

    With `lanes` all choices of all layers are alive at once. With `sequential` one path is; among the paths of a fair
    step, one keeps at least the average.
    """
    space = supernet.space
    height, width = (-(-side // space.stem_stride) for side in supernet.image_shape[:2])
    elements = 0.0
    for layer in space.layers:
        after_height, after_width = -(-height // layer.stride), -(-width // layer.stride)
        specs = [block_spec(space, layer, choice, layer.in_channels, supernet.skip) for choice in space.choices]
        hidden = sum(getattr(spec, "hidden_channels", 0) for spec in specs)
        kept = hidden * (height * width + after_height * after_width)
        elements += kept if execution == "lanes" else kept / space.num_choices
        height, width = after_height, after_width
    return int(elements * batch_size / num_replicas) * tf.as_dtype(supernet.compute_dtype).size
