"""retrain: trains a stand-alone network, from scratch or from given weights, resumable at any step."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import pathlib
import tempfile
import zlib
from collections.abc import Callable

import keras
import tensorflow as tf

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import TEMPORARY, atomic_writer, write_archive
from scarlet_tf.base.settings import as_settings
from scarlet_tf.data.inputs import as_split, count_classes, image_shape, plain, training_batches
from scarlet_tf.evaluation.batch_norm import moving_statistics, recalibrate
from scarlet_tf.evaluation.scoring import evaluate, inference
from scarlet_tf.models.network import Arrays, Network, build_network, get_arrays, set_arrays
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import NetworkSpec
from scarlet_tf.training.checkpoints import log_callbacks
from scarlet_tf.training.config import FinetuneConfig, RetrainConfig
from scarlet_tf.training.devices import check_support, copy_variables, is_chief
from scarlet_tf.training.forecast import Deadline, Forecast, closing_figures
from scarlet_tf.training.learning import Learning, Reference
from scarlet_tf.training.loop import Run, train
from scarlet_tf.training.memory import out_of_memory_explained, variable_bytes
from scarlet_tf.training.network_step import (
    Distillation,
    Tuning,
    check_part,
    load_teacher,
    network_optimizer,
    network_step,
)

# Columns of log.csv.
LOGGED = ("accuracy", "loss", "val_accuracy", "val_loss")


@dataclasses.dataclass(frozen=True)
class Part:
    """A call that does a part of a network's training: `label` stands in front of its progress; `pause`: see the loop's Run."""

    label: str
    pause: Callable[[int], bool]


def retrain(
    architecture: Architecture | NetworkSpec,
    train_data,
    validation_data,
    config: RetrainConfig | dict | None = None,
    run_dir=None,
    initial: Arrays | None = None,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
    callbacks=(),
    max_hours: float | None = None,
    tuning: Tuning | None = None,
    teacher: keras.Model | None = None,
    part: Part | None = None,
) -> tuple[Network, dict]:
    """Trains the network of `architecture` and returns (model answering logits, figures).

    Args:
        architecture: an Architecture (its stand-alone network is built), or a NetworkSpec; scaled as `config` says.
        train_data, validation_data: splits, batched tf.data.Datasets or (images, labels); the validation images
            only measure, nothing is chosen by them.
        config: a RetrainConfig or its fields.
        run_dir: checkpoints and `model.keras` go to `<run_dir>/retrain`; called again, training continues.
        initial: starting weights by name, such as those of a folded path; needs the NetworkSpec that they fit.
        input_shape, num_classes: of an Architecture's network; by default the first image's shape, and one more class
            than the greatest label. A tf.data.Dataset does not tell its labels: num_classes is needed with it.
        callbacks: Keras callbacks, such as keras.callbacks.TensorBoard; the learning rate is the schedule's, whatever they do.
        max_hours: training ends within this time, see Deadline; the learning rate's schedule is not rescaled to it.
        tuning: which parts of the network stay as they are, and how fast the others move; see `finetune`.
        teacher: a model in memory, for the `config.teacher` that names it; it returns logits.
        part: ends the call before the training's end, with a checkpoint in `run_dir`, whose schedule is that of the whole
            training; later calls continue it.

    Figures: {"history", "validation": {"accuracy", "loss", "num_examples"}, "steps"}, "stopped": "max_hours" when that
    limit ended it, "paused": True when `part` did, and "not_learning" as in `train_supernet`. A row has "cross_entropy",
    too, where the loss has a teacher's part. Raises InputError for bad values, for a NetworkSpec that does not return
    logits, when the folder holds another run's checkpoints, when the loss is no longer finite, and, after a few steps,
    when the machine's memory will not suffice.
    """
    host.check()
    config = as_settings(RetrainConfig, config)
    if isinstance(architecture, Architecture):
        data, validation = as_split(train_data), as_split(validation_data)
        classes = count_classes(data, validation) if num_classes is None else num_classes
        input_shape, num_classes = input_shape or image_shape(data), classes
    architecture = config.scaling.apply(architecture, input_shape, num_classes)
    if architecture.num_classes is None or architecture.classifier_activation is not None:
        raise InputError("network: expected one that returns logits: with a classifier, without an activation")
    data, validation = (as_split(part, architecture.num_classes) for part in (train_data, validation_data))
    steps = data.steps_per_epoch(config.batch_size)
    strategy = strategy or tf.distribute.get_strategy()
    name = "retrain" if tuning is None else "finetune"
    check_support(config.precision, section=name)
    deadline = Deadline(name, max_hours, steps, config.epochs, strategy)
    with strategy.scope():
        model = build_network(architecture, dropout=config.dropout, seed=config.seed, dtype=config.precision)
        if initial is not None:
            set_arrays(model, initial)
        _freeze(model, config, tuning)
        optimizer = network_optimizer(config, steps, model, tuning)
        distillation = _distillation(config, architecture, teacher)

    # Statistics differ from replica to replica, and reading them takes all of them: a copy on one is measured and saved. So is
    # one in float32 of a network in mixed precision, for that is what is exported.
    replicas = strategy.num_replicas_in_sync
    measured = model
    if replicas > 1 or config.precision != "float32":
        measured = build_network(architecture, dropout=config.dropout, seed=config.seed)
    if measured is not model:
        _freeze(measured, config, tuning)
    forward = inference(measured)

    def sync() -> None:
        if measured is not model:
            copy_variables(model, measured, strategy)

    def validate(epoch: int) -> dict:
        if (epoch + 1) % config.validate_every_epochs:
            return {}
        sync()
        figures = evaluate(measured, validation.batches(config.batch_size), forward)
        return {f"val_{name}": figures[name] for name in ("accuracy", "loss")}

    advice = f"a {name}.batch_size smaller than {config.batch_size}"
    later = variable_bytes(model, optimizer)
    forecast = Forecast(
        name, steps, config.epochs, advice, later_bytes=later, max_hours=max_hours, is_told=part is None
    )
    folder = None if run_dir is None else f"{run_dir}/retrain"
    writes = is_chief(strategy)
    reference = Reference.of(data, architecture.num_classes, config.label_smoothing)
    logs = log_callbacks(name, config.tensorboard and writes, config.csv and writes, folder, LOGGED)
    paused: list[int] = []

    def pause(step: int) -> bool:
        if part is not None and part.pause(step):
            paused.append(step)
        return bool(paused)

    run = Run(
        name=part.label if part else name,
        model=model,
        optimizer=optimizer,
        step=network_step(model, optimizer, config, replicas, distillation),
        batches=functools.partial(training_batches, data, config.batch_size, config.seed),
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        epochs=config.epochs,
        learning=Learning(name, config, reference, folder=folder if writes else None),
        settings=_settings(config, model, initial, tuning),
        folder=folder,
        checkpoint_seconds=config.checkpoint_seconds,
        callbacks=(*callbacks, *logs, forecast, deadline),
        on_epoch_end=validate,
        on_stop=deadline.reason,
        pause=pause,
        level=logging.DEBUG if part else logging.INFO,
        strategy=strategy,
    )
    with out_of_memory_explained(name, advice):
        history = train(run)
    optimizer.finalize_variable_values(model.trainable_variables)  # the averaged weights
    sync()
    recalibrate_network(measured, data, config.batch_size, config.recalibration_batches, config.seed, config.epochs)
    figures = evaluate(measured, validation.batches(config.batch_size), forward)
    for layer in measured.layers:
        layer.trainable = True  # what was frozen for this training is not for whatever comes next
    figures = {"history": history, "validation": figures, **closing_figures(history, steps)}
    if paused:
        return measured, {**figures, "steps": paused[0], "paused": True}
    if run_dir is not None and writes:
        save_model(measured, f"{run_dir}/retrain/model.keras")
    return measured, figures


def _freeze(model: Network, config: RetrainConfig, tuning: Tuning | None) -> None:
    """Make what stays untrainable."""
    if tuning is not None:
        tuning.freeze(model, model.spec)
    for layer in model.layers:
        if config.freeze_bn and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def save_model(model: keras.Model, path) -> None:
    """Writes a `.keras` file, atomically; InputError names `path` when it cannot be written."""
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(TEMPORARY, f".{path.name}.", path.parent) as folder:
            model.save(folder, zipped=False)
            with atomic_writer(path) as file:
                write_archive(file, folder)
    except OSError as error:
        raise InputError(f"{path}: could not be written: {error}; the previous file is kept") from error


def _distillation(config: RetrainConfig, spec: NetworkSpec, teacher: keras.Model | None) -> Distillation | None:
    if config.teacher is None or not config.teacher_weight:
        return None
    if teacher is None:
        teacher = load_teacher(config.teacher, spec.input_shape, spec.num_classes)
    return Distillation(teacher, config.batch_size, config.teacher_temperature)


def recalibrate_network(model: keras.Model, data, batch_size: int, num_batches: int, seed: int, epoch: int) -> None:
    """Measures BN statistics for the weights as they are, on images without strong distortions; 0 batches change nothing.

    Nor do they where a layer is not trainable: its statistics stay.
    """
    statistics = moving_statistics([layer for layer in model.layers if layer.trainable])
    if not num_batches or not statistics:
        return
    forward = tf.function(lambda images: model(images, training=True), reduce_retracing=True)
    batches = plain(data).batches(batch_size, training=True, seed=seed, epoch=epoch)
    momentum = next(layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    recalibrate(forward, batches.take(num_batches), statistics, momentum)


def _settings(config: RetrainConfig, model: Network, initial: Arrays | None, tuning: Tuning | None) -> dict:
    """Settings that a checkpoint must match for training to continue from it."""
    settings = dataclasses.asdict(config)
    scaling = dataclasses.asdict(config.scaling)
    for key in ("checkpoint_seconds", "csv", "tensorboard", "recalibration_batches", "pick", *scaling):
        del settings[key]  # none changes what a step computes; the picked and scaled network itself is compared
    start = 0
    for _, array in sorted((initial or {}).items()):
        start = zlib.crc32(array.tobytes(), start)
    if tuning is not None:
        settings["tuning"] = dataclasses.asdict(tuning)
    if config.precision == "float32":
        del settings["precision"]  # checkpoints from before have none
    return {**settings, "network": json.loads(json.dumps(model.spec.to_dict())), "initial_crc": start}


# -- finetune: trains a trained network further, on other images and classes, with a new classifier --------------


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
    config = as_settings(FinetuneConfig, config)
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
        tuning=Tuning(config.freeze_bn, config.train_from, config.rate_decay),
    )


def transferred_spec(spec: NetworkSpec, input_shape: tuple[int, int, int], num_classes: int) -> NetworkSpec:
    """The network with a classifier of `num_classes` that returns logits, for images of `input_shape`."""
    return spec.replace(input_shape=input_shape, num_classes=num_classes, classifier_activation=None, pooling=None)


def transferred_arrays(network: Network, spec: NetworkSpec, seed: int) -> Arrays:
    """All weights that a network of `spec` starts from: those of `network`, but for the classifier, which is drawn at random."""
    arrays, known = get_arrays(build_network(spec, seed=seed)), get_arrays(network)
    kept = {key: known.get(key, array) for key, array in arrays.items() if not key.startswith("classifier/")}
    for key, array in kept.items():
        if array.shape != arrays[key].shape:
            raise InputError(f"network: {key}: expected {arrays[key].shape}, got {array.shape}")
    return arrays | kept
