"""prune: trains a network further while the least weights of its 1x1 convolutions go to zero."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from scarlet_tf import host
from scarlet_tf.models.network import Network, get_arrays, set_arrays
from scarlet_tf.optimization.config import PruningConfig
from scarlet_tf.optimization.host import new_worker, train, training_split
from scarlet_tf.settings import as_settings
from scarlet_tf.training.network import recalibrate_network


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
