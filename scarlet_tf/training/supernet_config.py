"""SupernetConfig: how a supernet is trained. Imports no framework."""

from __future__ import annotations

import dataclasses
from typing import Literal

from scarlet_tf.errors import InputError
from scarlet_tf.training.settings import check_names, check_ranges, check_switches

# Fields that change nothing of what is computed.
IMMATERIAL = ("checkpoint_seconds", "execution", "jit_compile", "monitor_paths", "csv", "tensorboard")


@dataclasses.dataclass(frozen=True)
class SupernetConfig:
    """Settings of a supernet's training. Defaults: SCARLET's 60 epochs; SGD values as in most re-implementations (a reading).

    `monitor_paths`, `csv` and `tensorboard` change nothing of what is trained.

    Args:
        epochs: passes over the training images.
        batch_size: images of a step, which all its paths see; of all devices together.
        learning_rate: of SGD at its greatest, for the batch size given. A strictly fair step sums the gradients of m paths, one
            for each choice of a layer: stem and tail get m times one path's gradient, and every choice features that they
            moved. For another m the rate changes with 1 / m: 0.045 is for six or seven choices. A step of uniform sampling,
            or of BetaNAS, has one path.
        momentum: of SGD.
        weight_decay: L2, added once a step.
        clip_norm: the greatest norm of what a step gives the optimizer: the gradients of all weights that it moves together,
            summed over its paths, with L2. Greater ones are scaled down, all by one factor. 0 for none; else the sequential
            execution keeps the gradients of all paths to the end of a step, which takes the memory of the weights again.
        warmup_epochs: in which the learning rate rises to its greatest, before the schedule.
        label_smoothing: 0 to 1.
        schedule: how the learning rate falls.
        skip: what a skipped layer is, see `new_supernet`.
        sampling: "strict_fair" or "uniform" (SPOS).
        execution: "lanes" (memory of all paths, no control flow), "sequential" (memory of one path; the only one for
            uniform sampling) or "auto", see `choose_execution`.
        precision: Keras' dtype policy, see `new_supernet`.
        jit_compile: has XLA compile the step, which needs lanes and one device.
        seed: of initialisation, order, distortions and paths; by default the configuration's.
        checkpoint_seconds: time between checkpoints.
        monitor_paths: how many random paths are scored at each epoch's end, 0 for none (see Monitor; a path costs at most
            1,512 forward passes of an image, where training costs a forward and a backward pass for each image of the epoch and
            each path of a step).
        csv: whether the epochs' figures go to `supernet/log.csv`.
        tensorboard: whether they go to events in `supernet/tensorboard/`, which needs the package tensorboard.
    """

    epochs: int = 60
    batch_size: int = 256
    learning_rate: float = 0.045
    momentum: float = 0.9
    weight_decay: float = 4e-5
    clip_norm: float = 0.0
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    skip: Literal["let", "identity", "relu"] = "let"
    sampling: Literal["strict_fair", "uniform"] = "strict_fair"
    execution: Literal["auto", "sequential", "lanes"] = "auto"
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit_compile: bool = False
    seed: int = 0
    checkpoint_seconds: float = 60.0
    monitor_paths: int = 0
    csv: bool = False
    tensorboard: bool = False

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic reads it off the class

    def __post_init__(self):
        check_ranges("supernet", self, at_least_1=("epochs", "batch_size"), positive=("learning_rate",))
        check_ranges("supernet", self, at_least_0=("weight_decay", "clip_norm", "warmup_epochs", "checkpoint_seconds"))
        check_ranges("supernet", self, whole=("seed", "monitor_paths"), below_1=("momentum", "label_smoothing"))
        check_names("supernet", self)
        check_switches("supernet", self, "csv", "tensorboard", "jit_compile")
        if self.sampling == "uniform" and self.execution == "lanes":
            raise InputError("supernet.execution: expected 'sequential' with sampling 'uniform', got 'lanes'")
        if self.jit_compile and (self.execution == "sequential" or self.sampling == "uniform"):
            raise InputError("supernet.jit_compile: expected false with a sequential execution, got true")
