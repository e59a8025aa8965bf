"""OptimizationConfig: optimisations of the trained network before its export. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from scarlet_tf.training.settings import check_ranges

_FORBID_EXTRA = {"extra": "forbid"}


@dataclasses.dataclass(frozen=True)
class QuantizationAwareConfig:
    """Further training with 8-bit rounding in the forward pass; batch normalisation does not change.

    Args:
        epochs: further passes over the training images; 0 only measures ranges.
        learning_rate: of Adam at the start; it falls to 0 along a cosine.
        batch_size, label_smoothing: as in `retrain`.
        range_batches: training batches from which each of three rounds takes the activations' ranges, before the first epoch.
        int8_ends: int8 input and output instead of float32.
    """

    epochs: int = 2
    learning_rate: float = 3e-4
    batch_size: int = 128
    label_smoothing: float = 0.1
    range_batches: int = 20
    int8_ends: bool = False

    __pydantic_config__: ClassVar[dict] = _FORBID_EXTRA

    def __post_init__(self):
        section = "optimization.quantization_aware"
        check_ranges(section, self, at_least_1=("batch_size", "range_batches"), whole=("epochs",))
        check_ranges(section, self, positive=("learning_rate",), below_1=("label_smoothing",))


@dataclasses.dataclass(frozen=True)
class PruningConfig:
    """Further training while the least weights of the 1x1 convolutions are set to zero.

    Args:
        sparsity: final share of zeros in each of these convolutions; those of squeeze-and-excitation stay dense.
        ramp: share of the training in which the sparsity grows from 0 to its final value, along a cubic polynomial.
        epochs: passes over the training images.
        learning_rate: of Adam at the start; it falls to 0 along a cosine.
        batch_size, label_smoothing: as in `retrain`.
        recalibration_batches: training batches from which BN statistics are measured again at the end, 0 for none.
        sparse_storage: store no zeros in model_pruned.tflite, which makes it smaller before compression; interpreters
        must support DENSIFY.
        int8: export the pruned network in int8, too, by calibration.
    """

    sparsity: float = 0.5
    ramp: float = 0.5
    epochs: int = 3
    learning_rate: float = 1e-3
    batch_size: int = 128
    label_smoothing: float = 0.1
    recalibration_batches: int = 20
    sparse_storage: bool = False
    int8: bool = False

    __pydantic_config__: ClassVar[dict] = _FORBID_EXTRA

    def __post_init__(self):
        section = "optimization.pruning"
        check_ranges(section, self, at_least_1=("epochs", "batch_size"), whole=("recalibration_batches",))
        check_ranges(section, self, positive=("sparsity", "ramp", "learning_rate"), share=("ramp",))
        check_ranges(section, self, below_1=("sparsity", "label_smoothing"))


@dataclasses.dataclass(frozen=True)
class OptimizationConfig:
    """Settings of `scarlet optimize` for the retrained, folded network; needs the extra `optimization`.

    Args:
        quantization_aware: false, true for the defaults, or its settings; gives model_int8_qat.tflite.
        pruning: false, true for the defaults, or its settings; gives model_pruned.tflite.
        seed: of the order and the augmentation of the images.
    """

    quantization_aware: QuantizationAwareConfig | bool = False
    pruning: PruningConfig | bool = False
    seed: int = 0

    __pydantic_config__: ClassVar[dict] = _FORBID_EXTRA

    def __post_init__(self):
        check_ranges("optimization", self, whole=("seed",))
        for name, settings in (("quantization_aware", QuantizationAwareConfig), ("pruning", PruningConfig)):
            if getattr(self, name) is True:
                object.__setattr__(self, name, settings())

    @property
    def is_wanted(self) -> bool:
        """True if anything is switched on."""
        return bool(self.quantization_aware or self.pruning)
