"""Network: a NetworkSpec as a Keras functional model.

Every layer is a stock Keras layer with a stable, unique name (`block_03_expand`, `block_03_expand_bn`, ...). The names
are the keys under which weights travel between models, checkpoints and folding: `<layer>/<weight>`.
"""

from __future__ import annotations

import keras
import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.layers import primitives
from scarlet_tf.layers.initialization import derived_seed
from scarlet_tf.layers.subsample import Subsample
from scarlet_tf.space import Architecture
from scarlet_tf.spec import BlockSpec, IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec

Arrays = dict[str, np.ndarray]


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Network(keras.Model):
    """The network that `spec` describes; `.spec` stays readable, also after saving and loading.

    Args:
        spec: a NetworkSpec, or its dict form.
        seed: of the initial weights; None draws them anew each time.

    Input: float images [B, H, W, C], normalised as the training pipeline does. Output: as the spec says; logits
    [B, num_classes] by default.
    """

    def __init__(self, spec: NetworkSpec | dict, seed: int | None = None, **kwargs):
        spec = spec if isinstance(spec, NetworkSpec) else NetworkSpec.from_dict(spec)
        image = keras.Input(spec.input_shape, name="image")
        super().__init__(inputs=image, outputs=connect(spec, image, seed), **kwargs)
        self.spec = spec
        self.seed = seed

    def get_config(self):
        return {"spec": self.spec.to_dict(), "seed": self.seed, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def build_network(
    architecture: Architecture | NetworkSpec,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int = 1000,
    dropout: float = 0.2,
    seed: int | None = None,
    name: str | None = None,
) -> Network:
    """The stand-alone network of an architecture, in which skipped layers are nothing; it answers logits.

    A NetworkSpec is built as it is and carries its own input shape and classes; only `dropout` is replaced.
    """
    if isinstance(architecture, NetworkSpec):
        return Network(architecture.replace(dropout=dropout), seed=seed, name=name)
    return Network(architecture.lower(input_shape, num_classes, dropout=dropout), seed=seed, name=name)


def load_network(path) -> Network:
    """The Network in a `.keras` file, such as retrain/model.keras of a run; InputError when it is missing or torn.

    keras.saving.load_model reads it, too, once this module is imported: Keras then knows the class.
    """
    try:
        network = keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever Keras, ZIP and HDF5 make of a missing, torn or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: expected a network's .keras file: {reason}") from error
    if not isinstance(network, Network):
        raise InputError(f"{path}: expected a network of this package, got a {type(network).__name__}")
    return network


def connect(spec: NetworkSpec, image, seed: int | None = None):
    """Applies the layers of `spec` to the symbolic tensor `image` [B, H, W, C] and returns the output."""
    x = connect_stem(spec, image, seed)
    # Pixels that a skipped layer drops are dropped by the 1x1 convolution behind it where there is one without a
    # shortcut: the same result, and phones run a strided convolution where they have no strided slice.
    stride = 1
    for block, follower in zip(spec.blocks, (*spec.blocks[1:], None), strict=True):
        if isinstance(block, IdentitySpec) and _begins_with_conv(follower) and block.in_channels == block.out_channels:
            stride *= block.stride
            continue
        x = connect_block(block, x, seed, stride)
        stride = 1
    return connect_tail(spec, x, seed, stride)


def connect_block(block: BlockSpec, x, seed: int | None = None, stride: int = 1):
    """Applies one block to x [B, H, W, C]; `stride` is further pixels that its first 1x1 convolution drops."""
    if isinstance(block, InvertedResidualSpec):
        return _inverted_residual(block, x, seed, stride)
    if isinstance(block, IdentitySpec):
        x = Subsample(block.stride, name=f"{block.name}_subsample")(x) if block.stride > 1 else x
        return primitives.pad_channels(x, block.out_channels - block.in_channels)
    x = primitives.conv(block.out_channels, 1, f"{block.name}_let", seed, block.stride * stride)(x)
    return primitives.activation(block.activation, f"{block.name}_let_act")(x) if block.activation else x


def get_arrays(model: keras.Model) -> Arrays:
    """All weights of a model from `connect` as {"<layer>/<weight>": array}, moving statistics included."""
    return {f"{layer.name}/{w.name}": keras.ops.convert_to_numpy(w) for layer in model.layers for w in layer.weights}


def set_arrays(model: keras.Model, arrays: Arrays) -> None:
    """Inverse of `get_arrays`; every weight and every array is used exactly once or InputError says which is not."""
    weights = {f"{layer.name}/{w.name}": w for layer in model.layers for w in layer.weights}
    missing, unexpected = sorted(weights.keys() - arrays.keys()), sorted(arrays.keys() - weights.keys())
    if missing or unexpected:
        raise InputError(f"weights of {model.name}: missing {missing}, unexpected {unexpected}")
    for key, weight in weights.items():
        if tuple(weight.shape) != np.shape(arrays[key]):
            raise InputError(
                f"weights of {model.name}: {key}: expected {tuple(weight.shape)}, got {np.shape(arrays[key])}"
            )
        weight.assign(arrays[key])


def _begins_with_conv(block: BlockSpec | None) -> bool:
    """Whether nothing but a 1x1 convolution reads the block's input; None is the tail."""
    return (
        block is None
        or isinstance(block, LinearSpec)
        or (isinstance(block, InvertedResidualSpec) and not block.residual)
    )


def _conv_bn(x, layer, activation: str | None = None):
    x = primitives.batch_norm(f"{layer.name}_bn")(layer(x))
    return primitives.activation(activation, f"{layer.name}_act")(x) if activation else x


def connect_stem(spec: NetworkSpec, x, seed: int | None = None):
    """Applies the stem of `spec` to images [B, H, W, C]."""
    if spec.stem_stride > 1:
        x = primitives.symmetric_padding(3, "stem_pad")(x)
    x = _conv_bn(x, primitives.conv(spec.stem_channels, 3, "stem_conv", seed, spec.stem_stride), "relu6")
    x = _conv_bn(x, primitives.depthwise_conv(spec.stem_channels, 3, "stem_depthwise", seed), "relu6")
    return _conv_bn(x, primitives.conv(spec.first_channels, 1, "stem_project", seed))


def _inverted_residual(block: InvertedResidualSpec, x, seed, expand_stride: int):
    name, shortcut = block.name, x
    x = _conv_bn(x, primitives.conv(block.hidden_channels, 1, f"{name}_expand", seed, expand_stride), block.activation)
    if block.stride > 1:
        x = primitives.symmetric_padding(block.kernel_size, f"{name}_pad")(x)
    depthwise = primitives.depthwise_conv(
        block.hidden_channels, block.kernel_size, f"{name}_depthwise", seed, block.stride
    )
    x = _conv_bn(x, depthwise, block.activation)
    if block.se_channels:
        gate = primitives.mean_pool(f"{name}_se_pool", keepdims=True)(x)
        gate = primitives.gate_conv(block.se_channels, "relu", f"{name}_se_squeeze", seed)(gate)
        gate = primitives.gate_conv(block.hidden_channels, "hard_sigmoid", f"{name}_se_excite", seed)(gate)
        x = keras.layers.Multiply(name=f"{name}_se_scale")([x, gate])
    x = _conv_bn(x, primitives.conv(block.out_channels, 1, f"{name}_project", seed))
    return keras.layers.Add(name=f"{name}_add")([shortcut, x]) if block.residual else x


def connect_tail(spec: NetworkSpec, x, seed: int | None = None, stride: int = 1):
    """Applies tail and classifier of `spec` to features [B, H, W, C]."""
    x = _conv_bn(x, primitives.conv(spec.tail_channels, 1, "tail_conv", seed, stride), "relu6")
    if spec.num_classes is None and spec.pooling is None:
        return x
    if spec.num_classes is None and spec.pooling == "max":
        return primitives.max_pool("tail_pool")(x)
    x = primitives.mean_pool("tail_pool")(x)
    if spec.num_classes is None:
        return x
    if spec.dropout:
        x = keras.layers.Dropout(spec.dropout, seed=derived_seed(seed, "tail_dropout"), name="tail_dropout")(x)
    # Logits are float32 under every precision, so that the loss is.
    activation = spec.classifier_activation
    return primitives.classifier(spec.num_classes, spec.tail_channels, "classifier", seed, activation, "float32")(x)
