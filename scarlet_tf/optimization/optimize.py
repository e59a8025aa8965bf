"""quantize_aware: trains a network further with 8-bit rounding in its forward pass and writes the int8 file."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_tf.base import host
from scarlet_tf.base.settings import as_settings
from scarlet_tf.data.inputs import training_batches
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.flatbuffer import in_float
from scarlet_tf.export.metadata import build_metadata
from scarlet_tf.export.tflite import FLOAT_OPERATIONS, write_tflite
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.optimization.config import PruningConfig, QuantizationAwareConfig
from scarlet_tf.optimization.host import Worker, new_worker, train, training_split
from scarlet_tf.training.network import recalibrate_network

logger = logging.getLogger("scarlet_tf")
ROUNDS = 3
"""Rounds of measuring ranges: in the first, tfmot's initial ranges still cut activations off."""


def quantize_aware(
    model: Network,
    train_data,
    path,
    config: QuantizationAwareConfig | dict | None = None,
    run_dir=None,
    seed: int = 0,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    *,
    architecture=None,
    provenance: Mapping | None = None,
) -> dict:
    """Train `model` further with fake quantisation and write an int8 `.tflite` file; `model` itself is unchanged.

    Args:
        model: a Network that returns logits, from `fold` or `retrain`.
        train_data: a Split, a batched tf.data.Dataset or (images, labels), normalised.
        path: the file; its sidecars are those of `export_tflite`, whose other arguments are the same here.
        config: a QuantizationAwareConfig or its fields.
        run_dir: checkpoints go to `<run_dir>/optimize/quantization_aware`; called again, training resumes with the
        interrupted epoch.
        seed: of the order and the augmentation of the images.

    Hard-swish is trained and run in float between int8 tensors; see export.quantization. Returns `describe_tflite(path)`
    with "history", the figures of each epoch. InputError for bad input, and if the extra `optimization` is not installed.
    """
    host.check()
    config = as_settings(QuantizationAwareConfig, config)
    split = training_split(model, train_data, config.batch_size, "optimization.quantization_aware")
    metadata = build_metadata(model, "int8_qat", labels, preprocessing, architecture, provenance)
    settings = {
        **dataclasses.asdict(config),
        "seed": seed,
        "total_steps": config.epochs * split.steps_per_epoch(config.batch_size),
    }
    checkpoints = None if run_dir is None else pathlib.Path(run_dir) / "optimize" / "quantization_aware"
    identity = {key: value for key, value in settings.items() if key != "int8_ends"}
    with new_worker("quantization_aware", model, settings, identity, checkpoints) as process:
        if not process.call("restore")["history"]:
            _measure_ranges(process, split, config, seed)
        history = train(process, split, config, seed, "quantization-aware training")
        content = pathlib.Path(process.call("write")["path"]).read_bytes()
    content = in_float(content, FLOAT_OPERATIONS)
    return {**write_tflite(path, content, metadata), "history": history}


def _measure_ranges(process: Worker, split, config: QuantizationAwareConfig, seed: int) -> None:
    logger.info("measuring the ranges of activations")
    for epoch in range(ROUNDS):
        batches = training_batches(split, config.batch_size, seed, epoch, 0, (0, 1))
        for images, _ in itertools.islice(batches, config.range_batches):
            process.call("measure", images.numpy())
        process.call("end_round")


# -- prune: trains a network further while the least weights of its 1x1 convolutions go to zero --------------------


def prune(
    model: Network, train_data, config: PruningConfig | dict | None = None, run_dir=None, seed: int = 0
) -> tuple[Network, dict]:
    """A pruned copy of `model` in Keras 3, and figures; `model` itself is unchanged.

    Args:
        model: a Network that returns logits, from `fold` or `retrain`.
        train_data: a Split, a batched tf.data.Dataset or (images, labels), normalised.
        config: a PruningConfig or its fields.
        run_dir: checkpoints go to `<run_dir>/optimize/pruning`; called again, training resumes with the interrupted epoch.
        seed: of the order and the augmentation of the images.

    Figures: {"history", "sparsity": share of zeros among all weights, "layers": the same by pruned layer}. InputError for
    bad input, and if the extra `optimization` is not installed.
    """
    host.check()
    config = as_settings(PruningConfig, config)
    split = training_split(model, train_data, config.batch_size, "optimization.pruning")
    total = config.epochs * split.steps_per_epoch(config.batch_size)
    ramp = max(1, round(config.ramp * total))
    settings = {**dataclasses.asdict(config), "seed": seed, "total_steps": total, "ramp_steps": ramp}
    identity = {
        key: value for key, value in settings.items() if key not in ("int8", "sparse_storage", "recalibration_batches")
    }
    checkpoints = None if run_dir is None else pathlib.Path(run_dir) / "optimize" / "pruning"
    with new_worker("pruning", model, settings, identity, checkpoints) as process:
        history = train(process, split, config, seed, "pruning")
        with np.load(process.call("write")["path"]) as archive:
            arrays = dict(archive)
    pruned = Network(model.spec, name=f"{model.name}_pruned")
    set_arrays(pruned, arrays)
    recalibrate_network(pruned, split, config.batch_size, config.recalibration_batches, seed, config.epochs)
    return pruned, {"history": history, **sparsity(pruned)}


def sparsity(model: Network) -> dict:
    """{"sparsity", "layers"}: the share of zeros among all weights, and in each convolution or dense layer that has any."""
    arrays = get_arrays(model)
    kernels = {name.rpartition("/")[0]: a for name, a in arrays.items() if name.endswith("/kernel")}
    zeros = sum(int((array == 0).sum()) for array in arrays.values())
    layers = {name: float(np.mean(kernel == 0)) for name, kernel in kernels.items() if (kernel == 0).any()}
    return {"sparsity": zeros / sum(array.size for array in arrays.values()), "layers": layers}
