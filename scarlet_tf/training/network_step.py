"""One step of a stand-alone network's training: its optimizer, its loss, its gradients."""

from __future__ import annotations

import keras
import tensorflow as tf

from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.distillation import Distillation
from scarlet_tf.training.layer_rates import LayerwiseAdamW, LayerwiseRMSprop, LayerwiseSGD
from scarlet_tf.training.losses import Loss
from scarlet_tf.training.optimizers import clipped, make_schedule
from scarlet_tf.training.tuning import Tuning


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
        gradients = tape.gradient(share, variables)
        decayed = [
            g + decay * tf.convert_to_tensor(v) if decay and len(v.shape) > 1 else g
            for g, v in zip(gradients, variables, strict=True)
        ]
        optimizer.apply(clipped(decayed, config.clip_norm, num_replicas), variables)
        return {"loss": share, "accuracy": accuracy, **figures}

    return step
