"""The networks whose features the worked examples train: a small one from the search space's blocks, or one of the zoo."""

from __future__ import annotations

import keras

from scarlet_tf.models.features import feature_extractor
from scarlet_tf.models.zoo_data import ZOO
from scarlet_tf.space import Architecture, SearchSpace, Stage

_SMALL = Architecture(
    (0, 0, 1, 0, 1, 0),
    SearchSpace(
        "example",
        stages=(Stage(16, 1, 2), Stage(24, 2, 2), Stage(40, 2, 2), Stage(64, 1, 2)),
        choices=SearchSpace.from_name("s1").choices,
        stem_channels=16,
        first_channels=16,
        tail_channels=64,
    ),
)


def features_of(name: str, size: int, seed: int) -> keras.Model:
    """Random weights; images [B, size, size, 3] in -1..1 -> feature maps of strides 4, 8, 16 and 32."""
    architecture = _SMALL if name == "small" else ZOO[name].architecture
    return feature_extractor(architecture, input_shape=(size, size, 3), seed=seed)
