"""Builder of a NetworkSpec's network from the layers of any Keras.

`parts` supplies the layers: a module with the functions of `scarlet_tf.layers.primitives`, which receive the layer's name as
a keyword. The same builder makes the Keras 3 network, its Keras 2 copy and the layers of the supernet, so they cannot
differ in structure or names.
"""

from __future__ import annotations

from typing import assert_never

from scarlet_tf.space.spec import (
    PYTORCH,
    BlockSpec,
    Conventions,
    IdentitySpec,
    InvertedResidualSpec,
    LinearSpec,
    NetworkSpec,
)


def connect(spec: NetworkSpec, image, parts, seed: int | None = None):
    """Apply the layers of `spec` to the symbolic tensor `image` [B, H, W, C] and return the output."""
    x = connect_stem(spec, image, parts, seed)
    # Pixels that a skipped layer drops are dropped by the 1x1 convolution after it if there is one without a
    # shortcut: the same result, and phones run a strided convolution but have no strided slice.
    stride = 1
    for block, follower in zip(spec.blocks, (*spec.blocks[1:], None), strict=False):  # there may be no block
        if isinstance(block, IdentitySpec) and _begins_with_conv(follower) and block.in_channels == block.out_channels:
            stride *= block.stride
            continue
        x = connect_block(block, x, parts, seed, stride, spec.conventions)
        stride = 1
    return connect_tail(spec, x, parts, seed, stride)


def connect_block(
    block: BlockSpec,
    x,
    parts,
    seed: int | None = None,
    stride: int = 1,
    conventions: Conventions = PYTORCH,
):
    """Apply one block to x [B, H, W, C]; `stride` is further pixels that its first 1x1 convolution drops."""
    if isinstance(block, InvertedResidualSpec):
        return _inverted_residual(block, x, parts, seed, stride, conventions)
    if isinstance(block, IdentitySpec):
        x = parts.subsampling(block.stride, name=f"{block.name}_subsample")(x) if block.stride > 1 else x
        return parts.pad_channels(x, block.out_channels - block.in_channels)
    if isinstance(block, LinearSpec):
        name = f"{block.name}_let"
        x = parts.conv(block.out_channels, 1, name=name, seed=seed, stride=block.stride * stride)(x)
        x = _normalized(x, name, parts, conventions) if block.batch_norm else x
        return parts.activation(block.activation, name=f"{name}_act")(x) if block.activation else x
    assert_never(block)


def _begins_with_conv(block: BlockSpec | None) -> bool:
    """True if only a 1x1 convolution reads the block's input; None is the tail."""
    return (
        block is None
        or isinstance(block, LinearSpec)
        or (isinstance(block, InvertedResidualSpec) and block.expand and not block.residual)
    )


def _padded(x, kernel_size: int, stride: int, name: str, parts, conventions: Conventions):
    """(x with the zeros that a convolution with a stride needs before it, the convolution's own padding)."""
    if stride == 1 or conventions.padding == "same":
        return x, "same"
    return parts.symmetric_padding(kernel_size, name=name)(x), "valid"


def _normalized(x, name: str, parts, conventions: Conventions, activation: str | None = None):
    """BN and the activation after the convolution `name`."""
    x = parts.batch_norm(name=f"{name}_bn", epsilon=conventions.bn_epsilon, momentum=conventions.bn_momentum)(x)
    return parts.activation(activation, name=f"{name}_act")(x) if activation else x


def connect_stem(spec: NetworkSpec, x, parts, seed: int | None = None):
    """Apply the stem of `spec` to images [B, H, W, C]."""
    stride, like = spec.stem_stride, spec.conventions
    x, padding = _padded(x, 3, stride, "stem_pad", parts, like)
    x = parts.conv(spec.stem_channels, 3, name="stem_conv", seed=seed, stride=stride, padding=padding)(x)
    x = _normalized(x, "stem_conv", parts, like, spec.stem_activation)
    if spec.first_channels is None:
        return x
    x = parts.depthwise_conv(spec.stem_channels, 3, name="stem_depthwise", seed=seed)(x)
    x = _normalized(x, "stem_depthwise", parts, like, spec.stem_activation)
    x = parts.conv(spec.first_channels, 1, name="stem_project", seed=seed)(x)
    return _normalized(x, "stem_project", parts, like)


def _inverted_residual(block: InvertedResidualSpec, x, parts, seed, expand_stride: int, like: Conventions):
    name, hidden, size, stride, shortcut = block.name, block.hidden_channels, block.kernel_size, block.stride, x
    if block.expand:
        x = parts.conv(hidden, 1, name=f"{name}_expand", seed=seed, stride=expand_stride)(x)
        x = _normalized(x, f"{name}_expand", parts, like, block.activation)
    x, padding = _padded(x, size, stride, f"{name}_pad", parts, like)
    x = parts.depthwise_conv(hidden, size, name=f"{name}_depthwise", seed=seed, stride=stride, padding=padding)(x)
    x = _normalized(x, f"{name}_depthwise", parts, like, block.activation)
    if block.se_channels:
        gate = parts.mean_pool(name=f"{name}_se_pool", keepdims=True)(x)
        gate = parts.gate_conv(block.se_channels, block.se_activation, name=f"{name}_se_squeeze", seed=seed)(gate)
        gate = parts.gate_conv(hidden, block.se_gate, name=f"{name}_se_excite", seed=seed)(gate)
        x = parts.multiply(name=f"{name}_se_scale")([x, gate])
    x = parts.conv(block.out_channels, 1, name=f"{name}_project", seed=seed)(x)
    x = _normalized(x, f"{name}_project", parts, like)
    return parts.add(name=f"{name}_add")([shortcut, x]) if block.residual else x


def connect_tail(spec: NetworkSpec, x, parts, seed: int | None = None, stride: int = 1):
    """Apply tail and classifier of `spec` to features [B, H, W, C]."""
    x = parts.conv(spec.tail_channels, 1, name="tail_conv", seed=seed, stride=stride)(x)
    x = _normalized(x, "tail_conv", parts, spec.conventions, spec.tail_activation)
    if spec.num_classes is None and spec.pooling is None:
        return x
    if spec.num_classes is None and spec.pooling == "max":
        return parts.max_pool(name="tail_pool")(x)
    x = parts.mean_pool(name="tail_pool")(x)
    if spec.num_classes is None:
        return x
    features = spec.tail_channels
    if spec.head_channels is not None:
        x = parts.dense(spec.head_channels, features, name="head", seed=seed, use_bias=spec.head_bias)(x)
        x, features = parts.activation(spec.tail_activation, name="head_act")(x), spec.head_channels
    if spec.dropout:
        x = parts.dropout(spec.dropout, name="tail_dropout", seed=seed)(x)
    # Logits are float32 under every precision, so that the loss is, too.
    classifier = {"activation": spec.classifier_activation, "dtype": "float32"}
    return parts.dense(spec.num_classes, features, name="classifier", seed=seed, **classifier)(x)
