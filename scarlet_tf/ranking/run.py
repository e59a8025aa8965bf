"""rank: a supernet's ranking of networks, measured against training each of them on its own."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from scarlet_tf import files, host
from scarlet_tf.cost import cost_table
from scarlet_tf.data.inputs import as_split
from scarlet_tf.errors import InputError
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.ranking.config import RankingConfig
from scarlet_tf.ranking.correlation import kendall
from scarlet_tf.ranking.one_shot import measure_one_shot
from scarlet_tf.ranking.plot import SERIES, save_scatter
from scarlet_tf.ranking.standalone import train_alone
from scarlet_tf.ranking.strata import Sample, stratified_sample
from scarlet_tf.settings import as_settings
from scarlet_tf.training.config import RetrainConfig


def rank(
    supernet: Supernet,
    train_data,
    validation_data,
    config: RankingConfig | dict | None = None,
    retrain_config: RetrainConfig | dict | None = None,
    run_dir=".",
    context: Mapping | str | None = None,
) -> dict:
    """Compare one-shot with stand-alone accuracies and write `<run_dir>/ranking/`: result.json, .csv and .png.

    Args:
        supernet: trained, for square images.
        train_data, validation_data: splits, batched tf.data.Datasets or (images, labels). Accuracies of both kinds are
        of the validation images, by which nothing is chosen here.
        config: a RankingConfig or its fields; retrain_config: the other settings of each network's own training.
        context: plain JSON that names the supernet and the data; results kept under another context are not used.

    Returns the content of result.json: {"tau": {"recalibrated", "running"}: figures of `kendall`, "networks": one row each,
    "settings"}. Called again, it resumes with the interrupted network. Raises InputError for bad values.
    """
    host.check()
    config, retrain_config = as_settings(RankingConfig, config), as_settings(RetrainConfig, retrain_config)
    training = config.training(retrain_config)
    train_data, validation_data = (as_split(data, supernet.num_classes) for data in (train_data, validation_data))
    samples = draw(supernet, config)
    architectures = [sample.architecture for sample in samples]
    folder = pathlib.Path(run_dir) / "ranking"
    one_shot = measure_one_shot(
        supernet,
        architectures,
        train_data,
        validation_data,
        folder,
        config.recalibration_batches,
        config.validation_batch_size,
        config.seed,
        context,
    )
    alone = train_alone(
        architectures,
        train_data,
        validation_data,
        training,
        folder,
        supernet.image_shape,
        supernet.num_classes,
        context,
    )
    settings = {"ranking": dataclasses.asdict(config), "training": dataclasses.asdict(training)}
    result = {"space": supernet.space.name, **compare(samples, one_shot, alone, config), "settings": settings}
    write_result(folder, result)
    return result


def draw(supernet: Supernet, config: RankingConfig) -> list[Sample]:
    """The networks to compare: a function of the space, the image size and `config` alone."""
    height, width = supernet.image_shape[:2]
    if height != width:
        raise InputError(f"supernet.image_shape: expected square images to count costs at, got {supernet.image_shape}")
    costs = cost_table(supernet.space, height, supernet.num_classes)
    return stratified_sample(costs, config.architectures, config.strata, config.seed)


def compare(
    samples: Sequence[Sample], one_shot: Sequence[Mapping], alone: Sequence[Mapping], config: RankingConfig
) -> dict:
    """{"tau": ..., "networks": ...} from the measurements of each sample."""
    rows = [
        {
            "architecture": sample.architecture.to_string(),
            "stratum": sample.stratum,
            "multiply_adds": sample.multiply_adds,
            "params": sample.params,
            "stand_alone": trained["accuracy"],
            **{f"one_shot_{name}": measured[name] for name in SERIES},
        }
        for sample, measured, trained in zip(samples, one_shot, alone, strict=True)
    ]
    truth = [row["stand_alone"] for row in rows]
    tau = {
        name: kendall([row[f"one_shot_{name}"] for row in rows], truth, config.bootstrap_resamples, config.seed)
        for name in SERIES
    }
    return {"tau": tau, "networks": rows}


def write_result(folder: pathlib.Path, result: dict, title: str = "") -> None:
    """Write ranking.csv, ranking.png and, last, result.json."""
    rows = result["networks"]
    with files.atomic_writer(folder / "ranking.csv", "w") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    save_scatter(folder / "ranking.png", rows, result["tau"], title or f"{result['space']}: {len(rows)} networks")
    files.write_result(folder / "result.json", result)
