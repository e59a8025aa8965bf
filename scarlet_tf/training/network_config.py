"""RetrainConfig: how a stand-alone network is trained. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import Literal

from scarlet_tf.errors import InputError
from scarlet_tf.scaling import Scaling
from scarlet_tf.training.settings import check_names, check_ranges, check_switches


@dataclasses.dataclass(frozen=True)
class RetrainConfig:
    """Settings of a stand-alone network's training. Defaults: the paper's recipe (RMSProp of MnasNet) for ImageNet.

    The network is trained as it was found unless `se_ratio`, `width_multiplier` or `depth_multiplier` says otherwise (BetaNAS:
    0.0625 and a width of 1.4); it may then cost more than `search` allows. See scarlet_tf.scaling; `init` has to be
    "scratch", for the supernet has no weights for such a network.

    Args:
        pick: the network of the search that is retrained: "best", the most accurate one found within every bound, of equals the
            one of fewest multiply-adds; or one of the search's picks, by its index or its name.
        init: "scratch" as in the paper, or "supernet" (the path's own weights, LETs folded).
        se_ratio: squeeze-and-excitation in every block that has none, this share of its hidden channels wide, 0 for none.
        width_multiplier: of all widths, rounded to multiples of 8.
        depth_multiplier: of the blocks in each stage, rounded up.
        epochs: passes over the training images.
        batch_size: images of a step; of all devices together.
        optimizer: with adamw, momentum is not used.
        learning_rate: at its greatest, for the batch size given.
        momentum: of SGD and RMSProp.
        schedule: how the learning rate falls.
        decay_rate, decay_epochs: the exponential schedule multiplies by decay_rate every decay_epochs.
        warmup_epochs: in which the learning rate rises to its greatest, before the schedule.
        weight_decay: L2 on kernels, not on BN; with adamw that optimizer's own decay instead.
        clip_norm: the greatest norm of the gradients of all weights together, with L2; greater ones are scaled down, all by
            one factor, before the optimizer sees them. 0 for none.
        label_smoothing: 0 to 1.
        dropout: in front of the classifier.
        teacher: a `.keras` file of a model that sees the same normalised images, null for no distillation.
        teacher_weight, teacher_temperature: w and T of the loss (1 - w) * cross-entropy + w * T^2 * KL(teacher || student),
            both at T in the second term.
        ema: decay of the weights' moving average, 0 for none.
        recalibration_batches: training batches from which BN statistics are measured anew at the end, 0 for none.
        validate_every_epochs: epochs from one validation to the next.
        seed: of initialisation, order and distortions; by default the configuration's.
        checkpoint_seconds: time between checkpoints.
        csv: whether the epochs' figures go to `retrain/log.csv`.
        tensorboard: whether they go to events in `retrain/tensorboard/`, which needs the package tensorboard.
    """

    pick: int | str = "best"
    init: Literal["scratch", "supernet"] = "scratch"
    se_ratio: float = 0.0
    width_multiplier: float = 1.0
    depth_multiplier: float = 1.0
    epochs: int = 350
    batch_size: int = 4096
    optimizer: Literal["rmsprop", "sgd", "adamw"] = "rmsprop"
    learning_rate: float = 0.256
    momentum: float = 0.9
    schedule: Literal["cosine", "exponential", "constant"] = "exponential"
    decay_rate: float = 0.97
    decay_epochs: float = 2.4
    warmup_epochs: float = 5.0
    weight_decay: float = 1e-5
    clip_norm: float = 0.0
    label_smoothing: float = 0.1
    dropout: float = 0.2
    teacher: str | None = None
    teacher_weight: float = 0.5
    teacher_temperature: float = 1.0
    ema: float = 0.9999
    recalibration_batches: int = 20
    validate_every_epochs: int = 1
    seed: int = 0
    checkpoint_seconds: float = 60.0
    csv: bool = False
    tensorboard: bool = False

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic reads it off the class

    def __post_init__(self):
        check_ranges("retrain", self, at_least_1=("epochs", "batch_size", "validate_every_epochs"))
        check_ranges("retrain", self, at_least_0=("weight_decay", "clip_norm", "warmup_epochs", "checkpoint_seconds"))
        check_ranges("retrain", self, whole=("seed", "recalibration_batches"))
        check_ranges("retrain", self, positive=("learning_rate", "decay_rate", "decay_epochs", "teacher_temperature"))
        check_ranges("retrain", self, share=("se_ratio",), positive=("width_multiplier", "depth_multiplier"))
        check_ranges("retrain", self, below_1=("momentum", "label_smoothing", "dropout", "ema"))
        if not isinstance(self.pick, str):
            check_ranges("retrain", self, whole=("pick",))
        check_names("retrain", self)
        check_switches("retrain", self, "csv", "tensorboard")
        if not 0 <= self.teacher_weight <= 1:
            raise InputError(f"retrain.teacher_weight: expected a number from 0 to 1, got {self.teacher_weight!r}")
        if self.teacher is not None and (not isinstance(self.teacher, str) or not self.teacher):
            raise InputError(f"retrain.teacher: expected a path or null, got {self.teacher!r}")
        for key, neutral in dataclasses.asdict(Scaling()).items():
            if self.init == "supernet" and getattr(self, key) != neutral:
                raise InputError(
                    f"retrain.{key}: expected {neutral:g} with retrain.init: supernet, whose weights fit the network as it"
                    f" was searched, got {getattr(self, key)!r}; use init: scratch"
                )

    @property
    def scaling(self) -> Scaling:
        """Scaling of the network before its training."""
        return Scaling(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Scaling)})
