"""OptimizationConfig: optimisations of the trained network before its export. Imports no framework."""

from __future__ import annotations

import dataclasses
import importlib.util

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import AboveZero, BelowOne, Between, Count, Positive, Whole, validated


@validated("optimization.quantization_aware")
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

    epochs: Whole = 2
    learning_rate: Positive = 3e-4
    batch_size: Count = 128
    label_smoothing: BelowOne = 0.1
    range_batches: Count = 20
    int8_ends: bool = False


@validated("optimization.pruning")
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

    sparsity: Between = 0.5
    ramp: AboveZero = 0.5
    epochs: Count = 3
    learning_rate: Positive = 1e-3
    batch_size: Count = 128
    label_smoothing: BelowOne = 0.1
    recalibration_batches: Whole = 20
    sparse_storage: bool = False
    int8: bool = False


@validated("optimization")
@dataclasses.dataclass(frozen=True)
class OptimizationConfig:
    """Settings of the stage `optimize` for the retrained, folded network; needs the extra `optimization`.

    Args:
        quantization_aware: false, true for the defaults, or its settings; gives model_int8_qat.tflite.
        pruning: false, true for the defaults, or its settings; gives model_pruned.tflite.
        seed: of the order and the augmentation of the images.
    """

    quantization_aware: QuantizationAwareConfig | bool = False
    pruning: PruningConfig | bool = False
    seed: Whole = 0

    def __post_init__(self):
        for name, settings in (("quantization_aware", QuantizationAwareConfig), ("pruning", PruningConfig)):
            if getattr(self, name) is True:
                object.__setattr__(self, name, settings())

    @property
    def is_wanted(self) -> bool:
        """True if anything is switched on."""
        return bool(self.quantization_aware or self.pruning)


# -- The packages of the extra `optimization` ----------------------------------------------------------------------


PACKAGES = ("tensorflow_model_optimization", "tf_keras")


def check_extra() -> None:
    """Raise InputError with the install command if a package is missing; imports none of them."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"quantisation-aware training and pruning need {' and '.join(missing)}, which is not installed:"
            " pip install 'scarlet_tf[optimization]'"
        )
