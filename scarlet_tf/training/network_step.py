"""One step of a stand-alone network's training: its optimizer, its loss, its gradients."""

from __future__ import annotations

import dataclasses
import pathlib

import keras
import tensorflow as tf

from scarlet_tf.base.errors import InputError
from scarlet_tf.models.features import group_names, layer_groups
from scarlet_tf.space.spec import NetworkSpec
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.optimizers import (
    LayerwiseAdamW,
    LayerwiseRMSprop,
    LayerwiseSGD,
    Loss,
    clipped,
    loss_scale,
    make_schedule,
    unscaled,
)


def network_optimizer(config: RetrainConfig, steps_per_epoch: int, model, tuning: Tuning | None = None):
    """The built optimizer of `model`'s trainable variables; call it in the strategy's scope."""
    schedule = make_schedule(
        config.schedule,
        config.learning_rate,
        config.epochs * steps_per_epoch,
        round(config.warmup_epochs * steps_per_epoch),
        config.decay_rate,
        max(1, round(config.decay_epochs * steps_per_epoch)),
    )
    ema = {"use_ema": True, "ema_momentum": config.ema} if config.ema else {}
    variables = model.trainable_variables
    if tuning is not None:
        optimizer = _layerwise(config, schedule, ema)
        optimizer.set_rates(tuning.rates(model, model.spec), variables)
    else:
        optimizer = _uniform(config, schedule, ema, variables)
    optimizer.build(variables)
    return optimizer


def _uniform(config: RetrainConfig, schedule, ema: dict, variables):
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(schedule, momentum=float(config.momentum), **ema)
    if config.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=float(config.weight_decay), **ema)
        optimizer.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
        return optimizer
    return keras.optimizers.RMSprop(schedule, rho=0.9, momentum=float(config.momentum), epsilon=1e-3, **ema)


def _layerwise(config: RetrainConfig, schedule, ema: dict):
    if config.optimizer == "sgd":
        return LayerwiseSGD(schedule, momentum=float(config.momentum), **ema)
    if config.optimizer == "adamw":
        return LayerwiseAdamW(schedule, float(config.weight_decay), **ema)
    return LayerwiseRMSprop(schedule, rho=0.9, momentum=float(config.momentum), epsilon=1e-3, **ema)


def network_step(model, optimizer, config: RetrainConfig, num_replicas: int, distillation: Distillation | None):
    """`step(images, labels, extra)` for the training loop: one replica's share of a step, which moves the weights."""
    loss = Loss(model.spec.num_classes, config.batch_size, config.label_smoothing)
    scale = loss_scale(config.precision)
    decay = config.weight_decay / num_replicas  # the replicas' gradients are summed, so each adds its share
    if config.optimizer == "adamw":
        decay = 0.0  # the optimizer's own

    def step(images, labels, extra):
        del extra
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            share, accuracy = loss(labels, logits)
            figures = {} if distillation is None else {"cross_entropy": share}
            if distillation is not None:
                share = (1 - config.teacher_weight) * share + config.teacher_weight * distillation(images, logits)
            scaled = share * scale
        gradients = unscaled(tape.gradient(scaled, variables), scale)
        decayed = [
            g + decay * tf.convert_to_tensor(v) if decay and len(v.shape) > 1 else g
            for g, v in zip(gradients, variables, strict=True)
        ]
        optimizer.apply(clipped(decayed, config.clip_norm, num_replicas), variables)
        return {"loss": share, "accuracy": accuracy, **figures}

    return step


# -- Distillation: a Keras teacher's outputs as a second target (Hinton et al., arXiv:1503.02531) ------------------


class Distillation:
    """T^2 * KL(teacher || student) at temperature T, summed over images and divided by the global batch size.

    The factor T^2 keeps the gradient's size when T is changed (section 2 of the paper).
    """

    def __init__(self, teacher: keras.Model, global_batch_size: int, temperature: float = 1.0):
        self.teacher, self.global_batch_size, self.temperature = teacher, global_batch_size, temperature
        self._answers_probabilities = answers_probabilities(teacher)

    def __call__(self, images, logits):
        """Images [B, H, W, C] as the student sees them, the student's logits [B, num_classes] -> this replica's share."""
        answer = tf.stop_gradient(tf.cast(self.teacher(images, training=False), tf.float32))
        if self._answers_probabilities:  # logarithms of probabilities are logits up to a constant, which softmax drops
            answer = tf.math.log(tf.maximum(answer, keras.backend.epsilon()))
        wanted = tf.nn.log_softmax(answer / self.temperature)
        found = tf.nn.log_softmax(tf.cast(logits, tf.float32) / self.temperature)
        divergence = tf.reduce_sum(tf.exp(wanted) * (wanted - found))
        return self.temperature**2 * divergence / self.global_batch_size


def load_teacher(path, input_shape: tuple[int, int, int], num_classes: int | None) -> keras.Model:
    """The model in a `.keras` file; InputError names `retrain.teacher` where it cannot be read or does not fit.

    It has to take images [B, H, W, C] of `input_shape`, normalised as the student's, and to return logits or, where its
    last layer is a softmax, probabilities [B, num_classes].
    """
    if not pathlib.Path(path).is_file():
        raise InputError(f"retrain.teacher: expected a .keras file, got {str(path)!r}, which is none")
    try:
        teacher = keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever Keras, ZIP and HDF5 make of a torn or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"retrain.teacher: expected a .keras file, got {str(path)!r}: {reason}") from error
    teacher.trainable = False
    try:
        answer = tuple(teacher.compute_output_shape((1, *input_shape)))
    except Exception as error:  # a layer's own complaint about the shape
        raise InputError(
            f"retrain.teacher: expected one for images {list(input_shape)}, got {path}: {error}"
        ) from error
    given = getattr(teacher, "input_shape", None)
    fits = given is None or all(a in (None, b) for a, b in zip(given[1:], input_shape, strict=False))
    if not fits or answer != (1, num_classes):
        raise InputError(
            f"retrain.teacher: expected one for images {list(input_shape)} and {num_classes} classes,"
            f" got {path} for {given} with answers {answer}"
        )
    return teacher


def answers_probabilities(model: keras.Model) -> bool:
    """True if the model's last layer is a softmax; any other output is taken as logits."""
    last = model.layers[-1] if getattr(model, "layers", None) else model
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax


# -- Tuning: which parts of a network a training leaves as they are, and how fast the others move ------------------


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Further training of a network. Parts are the stem, each block, the tail and the classifier, in this order.

    freeze_bn: batch normalisation works with the statistics it has, and statistics, scale and offset stay bit by bit.
    train_from: the first part that is trained; those before it stay, their batch normalisation included.
    rate_decay: the learning rate of each part is the following part's times this; the classifier's is the schedule's.
    """

    freeze_bn: bool = False
    train_from: str = "stem"
    rate_decay: float = 1.0

    def freeze(self, model: keras.Model, spec: NetworkSpec) -> None:
        """Makes what stays untrainable; call it before the optimizer is built."""
        check_part(spec, self.train_from)
        before = True
        for name, layers in layer_groups(model, spec).items():
            before &= name != self.train_from
            for layer in layers:
                is_bn = isinstance(layer, keras.layers.BatchNormalization)
                layer.trainable = not (before or (is_bn and self.freeze_bn))

    def rates(self, model: keras.Model, spec: NetworkSpec) -> dict[str, float]:
        """{path of a variable: its factor of the learning rate}."""
        groups = layer_groups(model, spec)
        return {
            variable.path: self.rate_decay ** (len(groups) - 1 - index)
            for index, layers in enumerate(groups.values())
            for layer in layers
            for variable in layer.trainable_variables
        }


def check_part(spec: NetworkSpec, name: str) -> None:
    """InputError unless `name` is a part that training may begin with."""
    if name not in group_names(spec):
        raise InputError(f"finetune.train_from: expected one of {', '.join(group_names(spec))}, got {name!r}")
