"""Skip: the choice of leaving a layer out, as used in a supernet.

`let` is the linearly equivalent transformation of SCARLET-NAS ("equivariant learnable stabilizer" in its final
version): one 1x1 convolution without bias, BN or activation, with the layer's stride. It can be folded away after
the search. `identity` (nothing learnt; zero-padded channels where the layer widens, which is our reading) and
`relu` (the convolution followed by ReLU, which is not linear and cannot be folded) are the paper's ablations.
"""

from __future__ import annotations

from typing import Any

import keras

from scarlet_tf.layers import primitives
from scarlet_tf.layers.subsample import subsample

MODES = ("let", "identity", "relu")


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Skip(keras.layers.Layer):
    """A skipped layer.

    Args:
        out_channels: channels of the output.
        stride: 1 or 2; every `stride`-th pixel is kept.
        mode: "let", "identity" or "relu".
        seed: of the initial weights.

    Input [B, H, W, C], output [B, ceil(H / stride), ceil(W / stride), out_channels].
    """

    def __init__(self, out_channels: int, stride: int = 1, mode: str = "let", seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise ValueError(f"mode: expected one of {MODES}, got {mode!r}")
        self.out_channels = out_channels
        self.stride = stride
        self.mode = mode
        self.seed = seed
        self.let: Any = None
        if mode != "identity":
            self.let = primitives.conv(out_channels, 1, "let", seed, stride, self.dtype_policy)

    def build(self, input_shape):
        if self.let:
            self.let.build(input_shape)
        elif input_shape[-1] > self.out_channels:
            raise ValueError(f"mode 'identity': it cannot narrow {input_shape[-1]} channels to {self.out_channels}")
        self.built = True

    def call(self, x, training=False):
        del training  # unused: nothing here behaves differently in training, but every candidate takes it
        if self.mode == "identity":
            return primitives.pad_channels(subsample(x, self.stride), self.out_channels - x.shape[-1])
        x = self.let(x)
        return keras.ops.relu(x) if self.mode == "relu" else x

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = (None if side is None else -(-side // self.stride) for side in (height, width))
        return (batch, *sides, self.out_channels)

    def parts(self) -> dict[str, keras.layers.Layer]:
        """The layers that hold weights, by the names they have in a stand-alone network."""
        return {"let": self.let} if self.let else {}

    def get_config(self):
        config = {"out_channels": self.out_channels, "stride": self.stride, "mode": self.mode, "seed": self.seed}
        return {**super().get_config(), **config}
