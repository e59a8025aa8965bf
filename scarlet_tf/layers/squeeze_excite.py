"""SqueezeExcite: channels weighted by a small network that sees their means."""

from __future__ import annotations

from typing import Any

import keras

from scarlet_tf.layers import primitives


@keras.saving.register_keras_serializable(package="scarlet_tf")
class SqueezeExcite(keras.layers.Layer):
    """x * hard_sigmoid(excite(relu(squeeze(mean(x))))), with 1x1 convolutions that have biases.

    Args:
        squeeze_channels: width of the bottleneck; the published networks use hidden // 4.
        seed: of the initial weights.

    Input and output: [B, H, W, C].
    """

    def __init__(self, squeeze_channels: int, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if squeeze_channels < 1:
            raise ValueError(f"squeeze_channels: expected an integer >= 1, got {squeeze_channels!r}")
        self.squeeze_channels = squeeze_channels
        self.seed = seed
        self.pool = primitives.mean_pool(keepdims=True, dtype=self.dtype_policy)
        self.squeeze = primitives.gate_conv(squeeze_channels, "relu", "squeeze", seed, self.dtype_policy)
        self.excite: Any = None  # its width is the input's

    def build(self, input_shape):
        channels = input_shape[-1]
        self.squeeze.build((None, 1, 1, channels))
        self.excite = primitives.gate_conv(channels, "hard_sigmoid", "excite", self.seed, self.dtype_policy)
        self.excite.build((None, 1, 1, self.squeeze_channels))
        self.built = True

    def call(self, x):
        return x * self.excite(self.squeeze(self.pool(x)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def parts(self) -> dict[str, keras.layers.Layer]:
        """The layers that hold weights, by the names they have in a stand-alone network."""
        return {"squeeze": self.squeeze, "excite": self.excite}

    def get_config(self):
        return {**super().get_config(), "squeeze_channels": self.squeeze_channels, "seed": self.seed}
