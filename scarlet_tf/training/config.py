"""SupernetConfig, RetrainConfig and FinetuneConfig: how networks are trained. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from annotated_types import Ge

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import AboveZero, BelowOne, Count, NonNegative, Positive, Share, Text, Whole, validated
from scarlet_tf.space.scaling import Scaling

# Fields that change nothing of what is computed.
IMMATERIAL = ("checkpoint_seconds", "execution", "jit_compile", "monitor_paths", "csv", "tensorboard")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Settings that all trainings share.

    Args:
        epochs: passes over the training images.
        batch_size: images of a step; of all devices together.
        learning_rate: at its greatest, for the batch size given.
        momentum: of SGD and RMSProp.
        schedule: how the learning rate falls.
        warmup_epochs: in which the learning rate rises to its greatest, before the schedule.
        weight_decay: L2 on kernels, not on BN; with adamw that optimizer's own decay instead.
        clip_norm: the greatest norm of the gradients of all weights together, with L2; greater ones are scaled down, all by
            one factor, before the optimizer sees them. 0 for none.
        label_smoothing: 0 to below 1.
        precision: of layers' inputs and products, Keras' dtype policy; weights, statistics and logits are always float32.
            Under mixed_float16 gradients travel back 1,024 times as large, so that small ones do not vanish.
        seed: of initialisation, order and distortions; in a configuration the run's.
        checkpoint_seconds: time between checkpoints; in a configuration the run's.
        csv: write each epoch's metrics to `log.csv` in the stage's folder; in a configuration the run's.
        tensorboard: write them to events in the stage's folder `tensorboard/`, which needs the package tensorboard; in a
            configuration the run's.
    """

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    momentum: BelowOne = 0.9
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup_epochs: NonNegative = 0.0
    weight_decay: NonNegative = 1e-5
    clip_norm: NonNegative = 0.0
    label_smoothing: BelowOne = 0.1
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    seed: Whole = 0
    checkpoint_seconds: NonNegative = 60.0
    csv: bool = False
    tensorboard: bool = False


@validated("supernet")
@dataclasses.dataclass(frozen=True)
class SupernetConfig(TrainingConfig):
    """Settings of a supernet's training. Defaults: SCARLET's 60 epochs; SGD values as in most re-implementations (a reading).

    `monitor_paths`, `csv` and `tensorboard` change nothing of what is trained. Beside the settings that all trainings share:

    Args:
        epochs: passes over the training images; 0 searches a supernet as it begins with a parent's weights, or, with
            `search.score: predictor`, no supernet at all.
        batch_size: images of a step, which all its paths see; of all devices together.
        learning_rate: of SGD at its greatest, for the batch size given. A strictly fair step sums the gradients of m paths, one
            for each choice of a layer: stem and tail get m times one path's gradient, and every choice features that they
            moved. For another m the rate changes with 1 / m: 0.045 is for six or seven choices. A step of uniform sampling,
            or of BetaNAS, has one path, a sandwich 2 + `sandwich_random`.
        momentum: of SGD.
        weight_decay: L2, added once a step.
        clip_norm: the greatest norm of what a step gives the optimizer: the gradients of all weights that it moves together,
            summed over its paths, with L2. Greater ones are scaled down, all by one factor. 0 for none; else the sequential
            execution keeps the gradients of all paths to the end of a step, which takes the memory of the weights again.
        image_size: pixels of a side of the images that the supernet of a run sees, in training, search and monitor; null:
            data.image_size, which is that of the network to be found, and which costs are counted at.
        width_multiplier: of the widths of a run's supernet, its tail's included; the network to be found has the space's widths,
            and costs are counted for these. A smaller supernet is trained for more epochs in the same time.
        skip: what a skipped layer is, see `new_supernet`.
        sampling: "strict_fair", "uniform" (SPOS) or "sandwich": the largest path, the smallest one and `sandwich_random` random
            ones, see `sandwich_paths`.
        sandwich_random: random paths of a step of sandwich sampling, beside the largest and the smallest.
        distillation: of sandwich sampling: how far all paths but the largest learn from its predictions instead of the labels, 0
            not at all: (1 - d) * cross-entropy + d * cross-entropy against the largest path's softmax, which this does not
            train (in-place distillation). The largest learns from labels alone.
        freeze_bn: batch normalisation works with the statistics that it has, such as a parent's, and keeps them; its scale and
            offset are trained. Nothing has to be recalibrated then.
        execution: "lanes" (memory of all paths, no control flow), "sequential" (memory of one path; the only one for
            uniform and sandwich sampling) or "auto", see `choose_execution`.
        jit_compile: has XLA compile the step, which needs lanes and one device.
        monitor_paths: how many random paths are scored at each epoch's end, 0 for none (see Monitor; a path costs at most
            1,512 forward passes of an image, where training costs a forward and a backward pass for each image of the epoch and
            each path of a step).
    """

    epochs: Whole = 60
    batch_size: Count = 256
    learning_rate: Positive = 0.045
    weight_decay: NonNegative = 4e-5
    label_smoothing: BelowOne = 0.0
    image_size: Annotated[int, Ge(8)] | None = None
    width_multiplier: Positive = 1.0
    skip: Literal["let", "identity", "relu", "shortcut"] = "let"
    sampling: Literal["strict_fair", "uniform", "sandwich"] = "strict_fair"
    sandwich_random: Whole = 2
    distillation: Share = 0.0
    freeze_bn: bool = False
    execution: Literal["auto", "sequential", "lanes"] = "auto"
    jit_compile: bool = False
    monitor_paths: Whole = 0

    def __post_init__(self):
        if self.sampling != "strict_fair" and self.execution == "lanes":
            raise InputError(f"supernet.execution: expected sequential with sampling: {self.sampling}, got lanes")
        if self.distillation and self.sampling != "sandwich":
            raise InputError(
                f"supernet.distillation: expected 0 with sampling: {self.sampling}, whose steps have no largest path to learn"
                f" from, got {self.distillation}; use sampling: sandwich"
            )
        if self.jit_compile and (self.execution == "sequential" or self.sampling != "strict_fair"):
            raise InputError("supernet.jit_compile: expected false with a sequential execution, got true")


@dataclasses.dataclass(frozen=True)
class NetworkTrainingConfig(TrainingConfig):
    """Settings that all trainings of one network share.

    Args:
        optimizer: with adamw, momentum is not used.
        dropout: in front of the classifier.
        ema: decay of the weights' moving average, 0 for none.
        recalibration_batches: training batches from which BN statistics are measured again at the end, 0 for none.
    """

    optimizer: Literal["rmsprop", "sgd", "adamw"] = "sgd"
    dropout: BelowOne = 0.2
    ema: BelowOne = 0.0
    recalibration_batches: Whole = 20


@validated("retrain")
@dataclasses.dataclass(frozen=True)
class RetrainConfig(NetworkTrainingConfig):
    """Settings of a stand-alone network's training. Defaults: the paper's recipe (RMSProp of MnasNet) for ImageNet.

    The network is trained as it was found unless `se_ratio`, `width_multiplier` or `depth_multiplier` says otherwise (BetaNAS:
    0.0625 and a width of 1.4); it may then cost more than `search` allows. See scarlet_tf.space.scaling; `init` has to be
    "scratch", for the supernet has no weights for such a network. Beside the settings that all trainings share:

    Args:
        pick: the network of the search that is retrained: "best", the one of the best score within every bound, of equals the one
            of fewest multiply-adds; or one of the search's picks, by its index or its name.
        init: "scratch" as in the paper, or "supernet" (the path's own weights, LETs folded).
        se_ratio: squeeze-and-excitation in every block that has none, this share of its hidden channels wide, 0 for none.
        width_multiplier: of all widths, rounded to multiples of 8.
        depth_multiplier: of the blocks in each stage, rounded up.
        decay_rate, decay_epochs: the exponential schedule multiplies by decay_rate every decay_epochs.
        freeze_bn: batch normalisation works with the statistics that it has; statistics, scale and offset stay. For the weights
            of a trained network on few images.
        teacher: a `.keras` file of a model that sees the same normalised images; "parent", the parent's path in the supernet
            of a run that starts from one; null for no distillation.
        teacher_weight, teacher_temperature: w and T of the loss (1 - w) * cross-entropy + w * T^2 * KL(teacher || student),
            both at T in the second term.
        validate_every_epochs: epochs from one validation to the next.
    """

    epochs: Count = 350
    batch_size: Count = 4096
    learning_rate: Positive = 0.256
    schedule: Literal["cosine", "exponential", "constant"] = "exponential"
    warmup_epochs: NonNegative = 5.0
    optimizer: Literal["rmsprop", "sgd", "adamw"] = "rmsprop"
    ema: BelowOne = 0.9999
    pick: Whole | str = "best"
    init: Literal["scratch", "supernet"] = "scratch"
    se_ratio: Share = 0.0
    width_multiplier: Positive = 1.0
    depth_multiplier: Positive = 1.0
    decay_rate: Positive = 0.97
    decay_epochs: Positive = 2.4
    freeze_bn: bool = False
    teacher: Text | None = None
    teacher_weight: Share = 0.5
    teacher_temperature: Positive = 1.0
    validate_every_epochs: Count = 1

    def __post_init__(self):
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


@validated("finetune")
@dataclasses.dataclass(frozen=True)
class FinetuneConfig(NetworkTrainingConfig):
    """Settings of fine-tuning. The defaults are a reading: common values for a few thousand photographs.

    Beside the settings that all trainings share:

    Args:
        network: for the pipeline: a name of the zoo or of one's own, or a run folder whose network is meant; null for none.
        weights: for a network of the zoo: a `.weights.h5` file of it, with or without its top, or a PyTorch checkpoint as
            load_torch_weights reads it (the authors' want `data.normalization: imagenet`); null for random weights.
        learning_rate: of the classifier, at the start, for the batch size given.
        recalibration_batches: training batches from which BN statistics are measured again at the end, 0 for none; frozen
            batch normalisation is left alone.
        freeze_bn: batch normalisation works with the statistics it came with; statistics, scale and offset stay.
        train_from: the first part that is trained, stem (all of the network), a block's name, tail or classifier; those
            before it stay.
        rate_decay: the learning rate of each part is the next one's times this, the classifier's is learning_rate; 1 gives
            all the same.
    """

    epochs: Count = 20
    batch_size: Count = 32
    learning_rate: Positive = 0.01
    warmup_epochs: NonNegative = 1.0
    network: Text | None = None
    weights: Text | None = None
    freeze_bn: bool = False
    train_from: Text = "stem"
    rate_decay: AboveZero = 1.0

    @property
    def is_wanted(self) -> bool:
        """True if a run fine-tunes a network instead of searching for one."""
        return self.network is not None

    @property
    def training(self) -> RetrainConfig:
        """The training itself."""
        shared = [field.name for field in dataclasses.fields(NetworkTrainingConfig)]
        return RetrainConfig(**{name: getattr(self, name) for name in shared})
