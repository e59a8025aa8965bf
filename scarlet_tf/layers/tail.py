"""Tail: the fixed layers after the searchable ones."""

from __future__ import annotations

import keras

from scarlet_tf.layers import primitives


@keras.saving.register_keras_serializable(package="scarlet_tf")
class Tail(keras.layers.Layer):
    """1x1 conv, BN, ReLU6, global average pool, dense. Input [B, H, W, C]; output: logits [B, num_classes]."""

    def __init__(self, channels: int, num_classes: int, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.num_classes = num_classes
        self.seed = seed
        policy = self.dtype_policy
        self.conv = primitives.conv(channels, 1, "conv", seed, dtype=policy)
        self.conv_bn = primitives.batch_norm("conv_bn", policy)
        self.conv_act = primitives.activation("relu6", "conv_act", policy)
        self.pool = primitives.mean_pool(dtype=policy)
        # Logits are float32 under every precision, so that the loss is, too.
        self.classifier = primitives.dense(num_classes, channels, "classifier", seed, dtype="float32")

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.conv_bn.build((None, None, None, self.channels))
        self.classifier.build((None, self.channels))
        self.built = True

    def call(self, x, training=False):
        x = self.conv_act(self.conv_bn(self.conv(x), training=training))
        return self.classifier(self.pool(x))

    def lanes(self, lanes, training=False):
        """Lanes [m, B, H, W, C] -> logits [m, B, num_classes]; BN sees one lane at a time, all else all of them."""
        ops = keras.ops
        num_lanes, batch_size, *image = ops.shape(lanes)
        x = self.conv(ops.reshape(lanes, (num_lanes * batch_size, *image)))
        x = self.conv_bn.lanes(ops.reshape(x, (num_lanes, batch_size, *image[:-1], self.channels)), training=training)
        x = self.conv_act(ops.reshape(x, (num_lanes * batch_size, *image[:-1], self.channels)))
        return ops.reshape(self.classifier(self.pool(x)), (num_lanes, batch_size, self.num_classes))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def compute_output_spec(self, x, training=False):
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype="float32")

    def parts(self) -> dict[str, keras.layers.Layer]:
        """The layers that hold weights, by the names they have in a stand-alone network."""
        return {"conv": self.conv, "conv_bn": self.conv_bn, "classifier": self.classifier}

    def get_config(self):
        config = {"channels": self.channels, "num_classes": self.num_classes, "seed": self.seed}
        return {**super().get_config(), **config}
