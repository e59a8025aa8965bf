"""finetune: trains a trained network further, on other images and classes, behind a new classifier."""

from __future__ import annotations

import tensorflow as tf

from scarlet_tf import host
from scarlet_tf.errors import InputError
from scarlet_tf.evaluation.inputs import as_split, count_classes, image_shape
from scarlet_tf.models.network import Arrays, Network, build_network, get_arrays
from scarlet_tf.settings import as_settings
from scarlet_tf.spec import NetworkSpec
from scarlet_tf.training.config import FinetuneConfig
from scarlet_tf.training.network import retrain
from scarlet_tf.training.tuning import Tuning, check_part


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
