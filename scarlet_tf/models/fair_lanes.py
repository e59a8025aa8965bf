"""FairLanes: strict-fair training of a supernet under Keras' own `fit`, on any Keras backend."""

from __future__ import annotations

import keras

from scarlet_tf.layers.state import refuse_tracer
from scarlet_tf.models.supernet import Supernet


@keras.saving.register_keras_serializable(package="scarlet_tf")
class FairLanes(keras.Model):
    """All paths of a fair step as one model, so that `fit` takes fair steps.

        lanes = FairLanes(supernet)
        lanes.compile(keras.optimizers.SGD(0.045, momentum=0.9), loss=FairCrossentropy(), metrics=[FairAccuracy()])
        lanes.fit(images, labels)

    Each training batch draws its own strict-fair paths, in which every choice of every layer occurs exactly once. Input:
    images [B, H, W, C], or a dict of "images" and "paths" [m, num_layers], integers, to prescribe them. Output: logits
    [B, m, num_classes] of the m paths. `train_supernet` offers more: exact resuming, L2 on kernels only, several devices.

    Args:
        supernet: its weights are trained in place.
        seed: of the random paths.
    """

    def __init__(self, supernet: Supernet, seed: int | None = 0, **kwargs):
        super().__init__(**kwargs)
        self.supernet = supernet
        self.seed = seed
        self._draws = keras.random.SeedGenerator(seed)

    def build(self, input_shape=None):
        """The supernet has made its weights already."""
        self.built = True

    def call(self, inputs, training=False):
        ops = keras.ops
        given = inputs if isinstance(inputs, dict) else {"images": inputs}
        paths = given["paths"] if "paths" in given else self._draw()
        return ops.transpose(self.supernet.lanes(given["images"], paths, training=training), (1, 0, 2))

    def _draw(self):
        space = self.supernet.space
        # The order of independent uniform numbers is a permutation, and all permutations are equally likely.
        before = self._draws.state.value
        keys = keras.random.uniform((space.num_choices, space.num_layers), seed=self._draws)
        refuse_tracer(self._draws.state, before, f"{self.name} without prescribed paths")
        return keras.ops.argsort(keys, axis=0)

    def compute_output_shape(self, input_shape):
        shape = input_shape["images"] if isinstance(input_shape, dict) else input_shape
        return (shape[0], self.supernet.space.num_choices, self.supernet.num_classes)

    def compute_output_spec(self, inputs, training=False):
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, inputs)
        return keras.KerasTensor(self.compute_output_shape(shapes), dtype="float32")

    def get_config(self):
        supernet = keras.saving.serialize_keras_object(self.supernet)
        return {"supernet": supernet, "seed": self.seed, "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(keras.saving.deserialize_keras_object(config.pop("supernet")), **config)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class FairCrossentropy(keras.losses.Loss):
    """Cross-entropy of labels [B] and logits [B, m, num_classes], summed over the m paths, as a fair step's gradients are."""

    def __init__(self, name: str = "fair_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        ops = keras.ops
        labels = _for_every_path(y_true, y_pred)
        return ops.sum(ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True), axis=-1)


@keras.saving.register_keras_serializable(package="scarlet_tf")
class FairAccuracy(keras.metrics.Mean):
    """Top-1 accuracy, the mean over the paths."""

    def __init__(self, name: str = "accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        ops = keras.ops
        hits = ops.equal(ops.argmax(y_pred, axis=-1), ops.cast(_for_every_path(y_true, y_pred), "int32"))
        super().update_state(ops.mean(ops.cast(hits, "float32"), axis=-1), sample_weight)


def _for_every_path(labels, logits):
    """Labels [B] or [B, 1] as integers [B, m]."""
    ops = keras.ops
    labels = ops.cast(ops.reshape(labels, (-1, 1)), "int32")
    return ops.repeat(labels, logits.shape[1], axis=1)
