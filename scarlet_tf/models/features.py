"""Multi-scale features of a network, for detection, segmentation and other tasks with several outputs per image.

The feature map of stride s is the last tensor before the network's next reduction: the output of the last block that
still works on 1 / s of the image's height and width. For the last stride this is the input of the tail's convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from scarlet_tf.errors import InputError
from scarlet_tf.models.layer_groups import layer_groups
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.space import Architecture
from scarlet_tf.spec import NetworkSpec

STRIDES = (4, 8, 16, 32)


def feature_extractor(
    network: Network | Architecture | NetworkSpec,
    strides: Sequence[int] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A model that returns {"stride_4": [B, H / 4, W / 4, C], "stride_8": ...} for images [B, H, W, 3].

    Args:
        network: a Network, such as from load_network, whose weights are copied; or an Architecture or NetworkSpec, which
            gets random ones.
        strides: of the maps; None for those of 4, 8, 16 and 32 that the network has.
        input_shape: (height, width, channels); default: the network's own, for an Architecture its space's square images.
            Sides that a stride does not divide are rounded up: H / 4 is ceil(H / 4).
        seed: of random weights.

    InputError for a stride that the network does not have.
    """
    if isinstance(network, Architecture):
        size = network.space.input_size
        spec = network.lower((size, size, 3) if input_shape is None else input_shape, None)
    else:
        spec = network.spec if isinstance(network, Network) else network
        spec = spec.replace(num_classes=None, pooling=None, classifier_activation=None)
        spec = spec if input_shape is None else spec.replace(input_shape=input_shape)
    model = Network(spec, seed=seed)
    if isinstance(network, Network):
        wanted, arrays = get_arrays(model), get_arrays(network)
        set_arrays(model, {key: array for key, array in arrays.items() if key in wanted})
    return keras.Model(model.input, feature_maps(model, spec, strides), name=name)


def feature_maps(model: keras.Model, spec: NetworkSpec, strides: Sequence[int] | None = None) -> dict:
    """The symbolic tensors {"stride_<s>": [B, H / s, W / s, C]} of a model that the builder made from `spec`."""
    found = _last_outputs(model, spec)
    wanted = [stride for stride in STRIDES if stride in found] if strides is None else strides
    missing = [stride for stride in wanted if stride not in found]
    if missing or not wanted:
        raise InputError(
            f"strides: expected some of {sorted(found)}, the strides that the network has, got {list(strides or STRIDES)}"
        )
    return {f"stride_{stride}": found[stride] for stride in wanted}


def _last_outputs(model: keras.Model, spec: NetworkSpec) -> dict:
    """{stride: the last tensor that has it}, from the stem to the last block.

    A skipped block has no layer of its own where the next convolution leaves out its pixels; the stride then changes there.
    """
    groups = layer_groups(model, spec)
    stride = spec.stem_stride
    outputs = {stride: groups["stem"][-1].output}
    for block in spec.blocks:
        stride *= block.stride
        if groups[block.name]:
            outputs[stride] = groups[block.name][-1].output
    return outputs
