"""Registration of a run's network in the user's zoo folder."""

from __future__ import annotations

import pathlib
from typing import Any

from scarlet_tf.config.finetuning import DATA_KEYS
from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json
from scarlet_tf.models.zoo_folder import OwnEntry, add_own, check_new_name
from scarlet_tf.pipeline.checking import open_existing
from scarlet_tf.pipeline.picking import find_pick
from scarlet_tf.pipeline.result_keys import STATED_KEYS
from scarlet_tf.pipeline.run import Run
from scarlet_tf.space import Architecture
from scarlet_tf.spec import NetworkSpec


def register_network(name: str, run_dir, pick: int | str | None = None) -> OwnEntry:
    """Add a network of the run folder `run_dir` to the user's zoo folder, from which `build_zoo_network` builds it.

    pick None: the retrained network with its weights, or, if none was retrained yet, the search's best; else that
    network of the search ("best", a pick's index or its name) as searched, without weights. Raises InputError if the
    folder holds no such network, or the name is bad or taken.
    """
    check_new_name(name)
    run = open_existing(pathlib.Path(run_dir))
    if pick is None and run.retrain_result.exists():
        return _add_retrained(name, run)
    if not run.front.exists():
        raise InputError(f"{run_dir}: expected a run that was searched, with {run.front.name}")
    return _add_picked(name, run, "best" if pick is None else pick)


def _add_retrained(name: str, run: Run) -> OwnEntry:
    retrained = read_json(run.retrain_result)
    one_shot = retrained.get("one_shot_accuracy")  # a fine-tuned network was in no supernet
    origin = {
        **_origin(run, Architecture.from_dict(retrained["architecture"], run.config.space)),
        "init": retrained["init"],
        "scaling": retrained.get("scaling"),
        "test_examples": retrained["test"]["num_examples"],
        "top1": 100 * retrained["test"]["accuracy"],
        "one_shot_accuracy": None if one_shot is None else 100 * one_shot,
    }
    source = {
        "space": run.config.space.to_dict(),
        "data": {key: getattr(run.config.data, key) for key in DATA_KEYS},
        "result": {key: retrained[key] for key in STATED_KEYS if key in retrained},
    }
    return add_own(name, run.network.spec, origin, run.network_file, source)


def _add_picked(name: str, run: Run, pick: int | str) -> OwnEntry:
    picked = find_pick(read_json(run.front), pick)
    architecture = Architecture.parse(picked["architecture"], run.config.space)
    origin = {
        **_origin(run, architecture),
        "init": None,
        "scaling": None,
        "test_examples": None,
        "top1": None,
        "one_shot_accuracy": 100 * picked["accuracy"],
    }
    return add_own(name, _lowered(run, architecture), origin)


def _lowered(run: Run, architecture: Architecture) -> NetworkSpec:
    return architecture.lower(run.input_shape, len(_dataset(run)["classes"]), dropout=run.config.retrain.dropout)


def _dataset(run: Run) -> dict[str, Any]:
    return read_json(run.folder / "dataset.json")


def _origin(run: Run, architecture: Architecture) -> dict[str, Any]:
    data, dataset = run.config.data, _dataset(run)
    return {
        "run": run.folder.resolve().as_posix(),
        "space": architecture.space.name,
        "architecture": architecture.to_string(),
        "dataset": dataset["name"],
        "labels": dataset["classes"],
        "preprocessing": {key: getattr(data, key) for key in ("image_size", "crop_fraction", "normalization")},
    }
