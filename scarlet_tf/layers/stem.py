"""Stem: the fixed layers in front of the searchable ones."""

from __future__ import annotations

import keras

from scarlet_tf.layers import primitives


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Stem(keras.layers.Layer):
    """3x3 conv with stride, BN, ReLU6; 3x3 depthwise, BN, ReLU6; 1x1 conv, BN without activation.

    Input: images [B, H, W, C]; output [B, ceil(H / stride), ceil(W / stride), out_channels].
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 2, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.out_channels = out_channels
        self.stride = stride
        self.seed = seed
        policy = self.dtype_policy
        self.pad = primitives.symmetric_padding(3, "pad", policy) if stride > 1 else None
        self.conv = primitives.conv(channels, 3, "conv", seed, stride, policy)
        self.conv_bn = primitives.batch_norm("conv_bn", policy)
        self.conv_act = primitives.activation("relu6", "conv_act", policy)
        self.depthwise = primitives.depthwise_conv(channels, 3, "depthwise", seed, dtype=policy)
        self.depthwise_bn = primitives.batch_norm("depthwise_bn", policy)
        self.depthwise_act = primitives.activation("relu6", "depthwise_act", policy)
        self.project = primitives.conv(out_channels, 1, "project", seed, dtype=policy)
        self.project_bn = primitives.batch_norm("project_bn", policy)

    def build(self, input_shape):
        inner = (None, None, None, self.channels)
        self.conv.build((None, None, None, input_shape[-1]))
        for layer in (self.conv_bn, self.depthwise, self.depthwise_bn, self.project):
            layer.build(inner)
        self.project_bn.build((None, None, None, self.out_channels))
        self.built = True

    def call(self, x, training=False):
        if self.pad:
            x = self.pad(x)
        x = self.conv_act(self.conv_bn(self.conv(x), training=training))
        x = self.depthwise_act(self.depthwise_bn(self.depthwise(x), training=training))
        return self.project_bn(self.project(x), training=training)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = (None if side is None else -(-side // self.stride) for side in (height, width))
        return (batch, *sides, self.out_channels)

    def parts(self) -> dict[str, keras.layers.Layer]:
        """The layers that hold weights, by the names they have in a stand-alone network."""
        names = ("conv", "conv_bn", "depthwise", "depthwise_bn", "project", "project_bn")
        return {name: getattr(self, name) for name in names}

    def get_config(self):
        names = ("channels", "out_channels", "stride", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
