"""Published networks by name, in the manner of keras.applications: constructors, input, and predictions in words."""

from __future__ import annotations

from scarlet_tf.models.zoo import (
    FairNASA,
    FairNASB,
    FairNASC,
    MobileNetV2,
    ScarletA,
    ScarletA2,
    ScarletA4,
    ScarletB,
    ScarletC,
    build_zoo_network,
    decode_predictions,
    preprocess_input,
)
from scarlet_tf.models.zoo_data import zoo_names

__all__ = [
    "FairNASA",
    "FairNASB",
    "FairNASC",
    "MobileNetV2",
    "ScarletA",
    "ScarletA2",
    "ScarletA4",
    "ScarletB",
    "ScarletC",
    "build_zoo_network",
    "decode_predictions",
    "preprocess_input",
    "zoo_names",
]
