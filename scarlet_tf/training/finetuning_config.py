"""FinetuneConfig: how a trained network is trained further. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import Literal

from scarlet_tf.errors import InputError
from scarlet_tf.training.network_config import RetrainConfig
from scarlet_tf.training.settings import check_names, check_ranges, check_switches


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """Settings of fine-tuning. The defaults are a reading: common values for a few thousand photographs.

    Args:
        network: for the pipeline: a name of the zoo or of one's own, or a run folder whose network is meant; null for none.
        weights: for a network of the zoo: a `.weights.h5` file of it, with or without its top, or a PyTorch checkpoint as
            load_torch_weights reads it (the authors' want `data.normalization: imagenet`); null for random weights.
        freeze_bn: batch normalisation works with the statistics it came with; statistics, scale and offset stay.
        train_from: the first part that is trained, stem (all of the network), a block's name, tail or classifier; those
            before it stay.
        rate_decay: the learning rate of each part is the next one's times this, the classifier's is learning_rate; 1 gives
            all the same.
        epochs, batch_size, momentum, schedule, label_smoothing, dropout, ema: as in RetrainConfig.
        optimizer, warmup_epochs, weight_decay, clip_norm, checkpoint_seconds, csv, tensorboard: as in RetrainConfig.
        learning_rate: of the classifier, at the start, for the batch size given.
        recalibration_batches: as in RetrainConfig; frozen batch normalisation is left alone.
        seed: of initialisation, order and distortions; by default the configuration's.
    """

    network: str | None = None
    weights: str | None = None
    freeze_bn: bool = False
    train_from: str = "stem"
    rate_decay: float = 1.0
    epochs: int = 20
    batch_size: int = 32
    optimizer: Literal["rmsprop", "sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup_epochs: float = 1.0
    weight_decay: float = 1e-5
    clip_norm: float = 0.0
    label_smoothing: float = 0.1
    dropout: float = 0.2
    ema: float = 0.0
    recalibration_batches: int = 20
    seed: int = 0
    checkpoint_seconds: float = 60.0
    csv: bool = False
    tensorboard: bool = False

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic reads it off the class

    def __post_init__(self):
        check_ranges("finetune", self, at_least_1=("epochs", "batch_size"), positive=("learning_rate", "rate_decay"))
        check_ranges("finetune", self, at_least_0=("weight_decay", "clip_norm", "warmup_epochs", "checkpoint_seconds"))
        check_ranges("finetune", self, whole=("seed", "recalibration_batches"), share=("rate_decay",))
        check_ranges("finetune", self, below_1=("momentum", "label_smoothing", "dropout", "ema"))
        check_names("finetune", self)
        check_switches("finetune", self, "freeze_bn", "csv", "tensorboard")
        for key in ("network", "weights", "train_from"):
            value = getattr(self, key)
            if not (value is None and key != "train_from") and (not isinstance(value, str) or not value):
                raise InputError(f"finetune.{key}: expected a non-empty string, got {value!r}")

    @property
    def is_wanted(self) -> bool:
        """True if a run fine-tunes a network instead of searching for one."""
        return self.network is not None

    @property
    def training(self) -> RetrainConfig:
        """The training itself."""
        own = {field.name for field in dataclasses.fields(RetrainConfig)}
        return RetrainConfig(**{key: value for key, value in dataclasses.asdict(self).items() if key in own})
