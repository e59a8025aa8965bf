"""Multi-scale features of a network, and heads on them for detection and segmentation.

The feature map of stride s is the last tensor before the network's next reduction: the output of the last block that
still works on 1 / s of the image's height and width. For the last stride this is the input of the tail's convolution.

Both heads first fuse the maps into one of the finest (`FeatureFusion`). They do not depend on the network in front of them, so
they accept any dict of feature maps {"stride_<s>": [B, H / s, W / s, C]}. Their losses: for segmentation Keras' own, for
detection those of `scarlet_tf.models.detection`.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from scarlet_tf.base.errors import InputError
from scarlet_tf.layers import primitives
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import NetworkSpec, check_whole


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


# Initial output of every cell: one in a hundred holds an object, so that the many empty ones do not dominate the loss.
_PRIOR = 0.01


def _finest_first(features) -> list[str]:
    if not isinstance(features, dict):
        raise InputError(f"features: expected a dict such as feature_extractor returns, got {type(features).__name__}")
    return sorted(features, key=lambda name: int(name.removeprefix("stride_")))


def _shapes(features) -> dict[str, tuple]:
    return {name: features[name].shape for name in _finest_first(features)}


@keras.saving.register_keras_serializable(package="scarlet_tf")
class SeparableConv(keras.layers.Layer):
    """3x3 depthwise, 1x1, BN, ReLU: [B, H, W, C] -> [B, H, W, channels]."""

    def __init__(self, channels: int, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.seed = seed
        self.pointwise = primitives.conv(channels, 1, "pointwise", seed, dtype=self.dtype_policy)
        self.bn = primitives.batch_norm("bn", self.dtype_policy)

    def build(self, input_shape):
        self.depthwise = primitives.depthwise_conv(input_shape[-1], 3, "depthwise", self.seed, dtype=self.dtype_policy)
        self.depthwise.build(input_shape)
        self.pointwise.build(input_shape)
        self.bn.build((*input_shape[:-1], self.channels))
        self.built = True

    def call(self, x, training=False):
        return keras.ops.relu(self.bn(self.pointwise(self.depthwise(x)), training=training))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "seed": self.seed}


@keras.saving.register_keras_serializable(package="scarlet_tf")
class FeatureFusion(keras.layers.Layer):
    """Feature maps of several strides as one of the finest, [B, H / s, W / s, channels].

    Each map goes through a 1x1 convolution with BN; from the coarsest on, the sum so far is resized bilinearly to the next
    finer one and added, as in feature pyramids, and a separable convolution mixes the result.
    """

    def __init__(self, channels: int = 64, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.channels = check_whole("channels", channels)
        self.seed = seed
        self.mix = SeparableConv(channels, seed, name="mix", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.laterals, self.norms = {}, {}
        for name in _finest_first(input_shape):
            lateral = primitives.conv(self.channels, 1, f"{name}_lateral", self.seed, dtype=self.dtype_policy)
            self.laterals[name] = lateral
            self.norms[name] = primitives.batch_norm(f"{name}_bn", self.dtype_policy)
            self.laterals[name].build(input_shape[name])
            self.norms[name].build((*input_shape[name][:-1], self.channels))
        self.mix.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, features, training=False):
        ops, total = keras.ops, None
        for name in reversed(_finest_first(features)):
            x = self.norms[name](self.laterals[name](features[name]), training=training)
            if total is not None:
                size = ops.shape(x)[1:3]
                x = x + ops.image.resize(total, size, "bilinear", data_format=primitives.DATA_FORMAT)
            total = x
        return self.mix(ops.relu(total), training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[_finest_first(input_shape)[0]][:-1], self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "seed": self.seed}


@keras.saving.register_keras_serializable(package="scarlet_tf")
class SegmentationHead(keras.layers.Layer):
    """Pixel labels: feature maps of strides s and coarser -> logits [B, upsampling * H / s, upsampling * W / s, num_classes].

    Args:
        num_classes: background included.
        channels: width inside.
        upsampling: factor by which the logits are enlarged, bilinearly; 4 gives the image's size from stride 4.
    """

    def __init__(self, num_classes: int, channels: int = 64, upsampling: int = 4, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = check_whole("num_classes", num_classes)
        self.channels = check_whole("channels", channels)
        self.upsampling = check_whole("upsampling", upsampling)
        self.seed = seed
        self.fusion = FeatureFusion(channels, seed, name="fusion", dtype=self.dtype_policy)
        self.logits = primitives.gate_conv(num_classes, "linear", "logits", seed, dtype="float32")

    def build(self, input_shape):
        self.fusion.build(input_shape)
        self.logits.build(self.fusion.compute_output_shape(input_shape))
        self.built = True

    def call(self, features, training=False):
        logits = self.logits(self.fusion(features, training=training))
        size = [self.upsampling * side for side in keras.ops.shape(logits)[1:3]]
        return keras.ops.image.resize(logits, size, "bilinear", data_format=primitives.DATA_FORMAT)

    def compute_output_shape(self, input_shape):
        batch, *sides, _ = self.fusion.compute_output_shape(input_shape)
        return (batch, *(None if side is None else self.upsampling * side for side in sides), self.num_classes)

    def compute_output_spec(self, features, training=False):
        return keras.KerasTensor(self.compute_output_shape(_shapes(features)), dtype="float32")

    def get_config(self):
        config = {"num_classes": self.num_classes, "channels": self.channels, "upsampling": self.upsampling}
        return {**super().get_config(), **config, "seed": self.seed}


@keras.saving.register_keras_serializable(package="scarlet_tf")
class DetectionHead(keras.layers.Layer):
    """Detector of objects by their centres, in one stage and without anchors, as CenterNet and FCOS.

    Feature maps of strides s and coarser -> {"heatmap": logits [B, H / s, W / s, num_classes] of an object's centre being in a
    cell, "box": [B, H / s, W / s, 4] >= 0, distances from the cell's centre to the object's left, top, right and bottom, in
    units of s pixels}.
    """

    def __init__(self, num_classes: int, channels: int = 64, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = check_whole("num_classes", num_classes)
        self.channels = check_whole("channels", channels)
        self.seed = seed
        self.fusion = FeatureFusion(channels, seed, name="fusion", dtype=self.dtype_policy)
        policy = {"dtype": self.dtype_policy}
        self.branches = {
            name: SeparableConv(channels, seed, name=f"{name}_mix", **policy) for name in ("heatmap", "box")
        }
        self.heatmap = primitives.gate_conv(num_classes, "linear", "heatmap", seed, dtype="float32")
        self.heatmap.bias_initializer = keras.initializers.Constant(float(keras.ops.log(_PRIOR / (1 - _PRIOR))))
        self.box = primitives.gate_conv(4, "softplus", "box", seed, dtype="float32")

    def build(self, input_shape):
        self.fusion.build(input_shape)
        shape = self.fusion.compute_output_shape(input_shape)
        for branch in self.branches.values():
            branch.build(shape)
        self.heatmap.build(shape)
        self.box.build(shape)
        self.built = True

    def call(self, features, training=False):
        x = self.fusion(features, training=training)
        return {
            "heatmap": self.heatmap(self.branches["heatmap"](x, training=training)),
            "box": self.box(self.branches["box"](x, training=training)),
        }

    def compute_output_shape(self, input_shape):
        cells = self.fusion.compute_output_shape(input_shape)[:-1]
        return {"heatmap": (*cells, self.num_classes), "box": (*cells, 4)}

    def compute_output_spec(self, features, training=False):
        shapes = self.compute_output_shape(_shapes(features))
        return {name: keras.KerasTensor(shape, dtype="float32") for name, shape in shapes.items()}

    def get_config(self):
        config = {"num_classes": self.num_classes, "channels": self.channels, "seed": self.seed}
        return {**super().get_config(), **config}
