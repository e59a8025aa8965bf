"""InvertedResidual: MobileNetV2's block with h-swish and optional squeeze-and-excitation."""

from __future__ import annotations

import keras

from scarlet_tf.layers import primitives
from scarlet_tf.layers.initialization import derived_seed
from scarlet_tf.layers.squeeze_excite import SqueezeExcite
from scarlet_tf.spec import InvertedResidualSpec


@keras.saving.register_keras_serializable(package="scarlet_tf")
class InvertedResidual(keras.layers.Layer):
    """1x1 expand, BN, act; k x k depthwise, BN, act; SE; 1x1 project, BN; plus the input where `residual`.

    Args:
        hidden_channels: channels between expansion and projection.
        out_channels: channels of the output.
        kernel_size: of the depthwise convolution, odd.
        stride: 1 or 2, of the depthwise convolution.
        se_channels: squeeze width; 0 leaves squeeze-and-excitation out.
        residual: adds the input; needs stride 1 and equal channels.
        activation: "hard_swish", "relu6" or "relu".
        seed: of the initial weights.

    Input [B, H, W, C], output [B, ceil(H / stride), ceil(W / stride), out_channels].
    """

    def __init__(
        self,
        hidden_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        se_channels: int = 0,
        residual: bool = False,
        activation: str = "hard_swish",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: expected an odd number, got {kernel_size!r}")
        if stride not in (1, 2):
            raise ValueError(f"stride: expected 1 or 2, got {stride!r}")
        if residual and stride != 1:
            raise ValueError(f"residual: expected stride 1, got {stride!r}")
        self.hidden_channels = hidden_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.se_channels = se_channels
        self.residual = residual
        self.activation = activation
        self.seed = seed
        policy = self.dtype_policy
        self.expand = primitives.conv(hidden_channels, 1, "expand", seed, dtype=policy)
        self.expand_bn = primitives.batch_norm("expand_bn", policy)
        self.expand_act = primitives.activation(activation, "expand_act", policy)
        self.pad = primitives.symmetric_padding(kernel_size, "pad", policy) if stride > 1 else None
        self.depthwise = primitives.depthwise_conv(hidden_channels, kernel_size, "depthwise", seed, stride, policy)
        self.depthwise_bn = primitives.batch_norm("depthwise_bn", policy)
        self.depthwise_act = primitives.activation(activation, "depthwise_act", policy)
        self.se = SqueezeExcite(se_channels, derived_seed(seed, "se"), name="se", dtype=policy) if se_channels else None
        self.project = primitives.conv(out_channels, 1, "project", seed, dtype=policy)
        self.project_bn = primitives.batch_norm("project_bn", policy)

    @classmethod
    def from_spec(cls, spec: InvertedResidualSpec, **kwargs) -> InvertedResidual:
        """The block that `spec` describes, which a space's choice does; `in_channels` follows from the input."""
        if not spec.expand or spec.se_gate != "hard_sigmoid":
            raise ValueError(f"spec: expected an expansion and a hard-sigmoid gate, got {spec}")
        return cls(
            spec.hidden_channels,
            spec.out_channels,
            spec.kernel_size,
            spec.stride,
            spec.se_channels,
            spec.residual,
            spec.activation,
            **kwargs,
        )

    def build(self, input_shape):
        if self.residual and input_shape[-1] != self.out_channels:
            raise ValueError(f"residual: expected {self.out_channels} input channels, got {input_shape[-1]}")
        hidden = (None, None, None, self.hidden_channels)  # the padding in front makes the size fit
        self.expand.build(input_shape)
        self.expand_bn.build(hidden)
        self.depthwise.build(hidden)
        self.depthwise_bn.build(hidden)
        if self.se:
            self.se.build(hidden)
        self.project.build(hidden)
        self.project_bn.build((None, None, None, self.out_channels))
        self.built = True

    def call(self, x, training=False):
        shortcut = x
        x = self.expand_act(self.expand_bn(self.expand(x), training=training))
        if self.pad:
            x = self.pad(x)
        x = self.depthwise_act(self.depthwise_bn(self.depthwise(x), training=training))
        if self.se:
            x = self.se(x)
        x = self.project_bn(self.project(x), training=training)
        return x + shortcut if self.residual else x

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = (None if side is None else -(-side // self.stride) for side in (height, width))
        return (batch, *sides, self.out_channels)

    def parts(self) -> dict[str, keras.layers.Layer]:
        """The layers that hold weights, by the names they have in a stand-alone network."""
        names = ("expand", "expand_bn", "depthwise", "depthwise_bn", "project", "project_bn")
        parts = {name: getattr(self, name) for name in names}
        if self.se:
            parts |= {f"se_{name}": layer for name, layer in self.se.parts().items()}
        return parts

    def get_config(self):
        names = (
            "hidden_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "se_channels",
            "residual",
            "activation",
            "seed",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
