"""Builder of a NetworkSpec's network from the layers of any Keras.

`parts` supplies the layers: a module with the functions of `scarlet_tf.layers.primitives`. The same builder makes
the Keras 3 network and its tf_keras twin, so the two cannot differ in structure or names.
"""

from __future__ import annotations

from typing import assert_never

from scarlet_tf.spec import BlockSpec, IdentitySpec, InvertedResidualSpec, LinearSpec, NetworkSpec


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
        x = connect_block(block, x, parts, seed, stride)
        stride = 1
    return connect_tail(spec, x, parts, seed, stride)


def connect_block(block: BlockSpec, x, parts, seed: int | None = None, stride: int = 1):
    """Apply one block to x [B, H, W, C]; `stride` is further pixels that its first 1x1 convolution drops."""
    if isinstance(block, InvertedResidualSpec):
        return _inverted_residual(block, x, parts, seed, stride)
    if isinstance(block, IdentitySpec):
        x = parts.subsampling(block.stride, f"{block.name}_subsample")(x) if block.stride > 1 else x
        return parts.pad_channels(x, block.out_channels - block.in_channels)
    if isinstance(block, LinearSpec):
        x = parts.conv(block.out_channels, 1, f"{block.name}_let", seed, block.stride * stride)(x)
        return parts.activation(block.activation, f"{block.name}_let_act")(x) if block.activation else x
    assert_never(block)


def _begins_with_conv(block: BlockSpec | None) -> bool:
    """True if only a 1x1 convolution reads the block's input; None is the tail."""
    return (
        block is None
        or isinstance(block, LinearSpec)
        or (isinstance(block, InvertedResidualSpec) and block.expand and not block.residual)
    )


def _conv_bn(x, layer, parts, activation: str | None = None):
    x = parts.batch_norm(f"{layer.name}_bn")(layer(x))
    return parts.activation(activation, f"{layer.name}_act")(x) if activation else x


def connect_stem(spec: NetworkSpec, x, parts, seed: int | None = None):
    """Apply the stem of `spec` to images [B, H, W, C]."""
    if spec.stem_stride > 1:
        x = parts.symmetric_padding(3, "stem_pad")(x)
    activation = spec.stem_activation
    x = _conv_bn(x, parts.conv(spec.stem_channels, 3, "stem_conv", seed, spec.stem_stride), parts, activation)
    if spec.first_channels is None:
        return x
    x = _conv_bn(x, parts.depthwise_conv(spec.stem_channels, 3, "stem_depthwise", seed), parts, activation)
    return _conv_bn(x, parts.conv(spec.first_channels, 1, "stem_project", seed), parts)


def _inverted_residual(block: InvertedResidualSpec, x, parts, seed, expand_stride: int):
    name, shortcut = block.name, x
    if block.expand:
        expand = parts.conv(block.hidden_channels, 1, f"{name}_expand", seed, expand_stride)
        x = _conv_bn(x, expand, parts, block.activation)
    if block.stride > 1:
        x = parts.symmetric_padding(block.kernel_size, f"{name}_pad")(x)
    depthwise = parts.depthwise_conv(block.hidden_channels, block.kernel_size, f"{name}_depthwise", seed, block.stride)
    x = _conv_bn(x, depthwise, parts, block.activation)
    if block.se_channels:
        gate = parts.mean_pool(f"{name}_se_pool", keepdims=True)(x)
        gate = parts.gate_conv(block.se_channels, "relu", f"{name}_se_squeeze", seed)(gate)
        gate = parts.gate_conv(block.hidden_channels, block.se_gate, f"{name}_se_excite", seed)(gate)
        x = parts.multiply(f"{name}_se_scale")([x, gate])
    x = _conv_bn(x, parts.conv(block.out_channels, 1, f"{name}_project", seed), parts)
    return parts.add(f"{name}_add")([shortcut, x]) if block.residual else x


def connect_tail(spec: NetworkSpec, x, parts, seed: int | None = None, stride: int = 1):
    """Apply tail and classifier of `spec` to features [B, H, W, C]."""
    x = _conv_bn(x, parts.conv(spec.tail_channels, 1, "tail_conv", seed, stride), parts, spec.tail_activation)
    if spec.num_classes is None and spec.pooling is None:
        return x
    if spec.num_classes is None and spec.pooling == "max":
        return parts.max_pool("tail_pool")(x)
    x = parts.mean_pool("tail_pool")(x)
    if spec.num_classes is None:
        return x
    features = spec.tail_channels
    if spec.head_channels is not None:
        x = parts.dense(spec.head_channels, features, "head", seed, use_bias=spec.head_bias)(x)
        x, features = parts.activation(spec.tail_activation, "head_act")(x), spec.head_channels
    if spec.dropout:
        x = parts.dropout(spec.dropout, "tail_dropout", seed)(x)
    # Logits are float32 under every precision, so that the loss is, too.
    activation = spec.classifier_activation
    return parts.dense(spec.num_classes, features, "classifier", seed, activation, "float32")(x)
