"""finetune: trains a trained network further, on other images and classes, behind a new classifier."""

from __future__ import annotations

import dataclasses
from typing import Literal

import tensorflow as tf

from scarlet_tf import host
from scarlet_tf.errors import InputError
from scarlet_tf.models.network import Arrays, Network, build_network, get_arrays
from scarlet_tf.spec import NetworkSpec
from scarlet_tf.training.inputs import as_split, count_classes, image_shape
from scarlet_tf.training.network import RetrainConfig, retrain
from scarlet_tf.training.settings import check_names, check_ranges, check_switches, from_mapping
from scarlet_tf.training.tuning import Tuning, check_part


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """How a trained network is fine-tuned. The defaults are a reading: common values for a few thousand photographs.

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
        """Whether a run fine-tunes a network, and searches none."""
        return self.network is not None

    @property
    def tuning(self) -> Tuning:
        """What stays, and how fast the rest moves."""
        return Tuning(self.freeze_bn, self.train_from, self.rate_decay)

    @property
    def training(self) -> RetrainConfig:
        """The training itself."""
        own = {field.name for field in dataclasses.fields(RetrainConfig)}
        return RetrainConfig(**{key: value for key, value in dataclasses.asdict(self).items() if key in own})


def finetune(
    network: Network,
    train_data,
    validation_data,
    config: FinetuneConfig | dict | None = None,
    run_dir=None,
    num_classes: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
    callbacks=(),
    max_hours: float | None = None,
) -> tuple[Network, dict]:
    """Trains a copy of `network` with a new classifier on other images; returns (model answering logits, figures).

    Args:
        network: trained, such as from load_network or a zoo network with weights; any image size, with or without a top.
        train_data, validation_data: as for `retrain`; the images' size is the new network's.
        config: a FinetuneConfig or its fields; `network` and `weights` of it are for the pipeline.
        run_dir: checkpoints and `model.keras` go to `<run_dir>/retrain`; called again, training continues.
        num_classes: of the new classifier; by default one more than the greatest label.
        callbacks, strategy, max_hours: as for `retrain`.

    Figures and errors are those of `retrain`; InputError, too, for `train_from` that names no part of the network.
    """
    host.check()
    config = from_mapping(FinetuneConfig, config)
    data, validation = as_split(train_data), as_split(validation_data)
    classes = count_classes(data, validation) if num_classes is None else num_classes
    spec = transferred_spec(network.spec, image_shape(data), classes)
    check_part(spec, config.train_from)
    return retrain(
        spec,
        data,
        validation,
        config.training,
        run_dir=run_dir,
        initial=transferred_arrays(network, spec, config.seed),
        strategy=strategy,
        callbacks=callbacks,
        max_hours=max_hours,
        tuning=config.tuning,
    )


def transferred_spec(spec: NetworkSpec, input_shape: tuple[int, int, int], num_classes: int) -> NetworkSpec:
    """The network with a classifier of `num_classes` that answers logits, for images of `input_shape`."""
    return spec.replace(input_shape=input_shape, num_classes=num_classes, classifier_activation=None, pooling=None)


def transferred_arrays(network: Network, spec: NetworkSpec, seed: int) -> Arrays:
    """All weights that a network of `spec` starts from: those of `network`, but for the classifier, which is drawn anew."""
    arrays, known = get_arrays(build_network(spec, seed=seed)), get_arrays(network)
    kept = {key: known.get(key, array) for key, array in arrays.items() if not key.startswith("classifier/")}
    for key, array in kept.items():
        if array.shape != arrays[key].shape:
            raise InputError(f"network: {key}: expected {arrays[key].shape}, got {array.shape}")
    return arrays | kept
