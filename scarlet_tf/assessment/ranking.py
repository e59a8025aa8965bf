"""rank: a supernet's ranking of networks, measured against training each of them on its own."""

from __future__ import annotations

import csv
import dataclasses
import functools
import gc
import logging
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from scarlet_tf.assessment.config import RankingConfig
from scarlet_tf.assessment.plots import save_scatter
from scarlet_tf.assessment.statistics import Sample, kendall, stratified_sample
from scarlet_tf.assessment.store import Store, name_of
from scarlet_tf.base import files, host
from scarlet_tf.base.cluster import search_role, share
from scarlet_tf.base.progress import Bar, progress_bar
from scarlet_tf.base.settings import as_settings
from scarlet_tf.data.inputs import as_split
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.search.config import side_of
from scarlet_tf.search.journal import EVALUATION, EVALUATION_KEY
from scarlet_tf.search.objectives import CostModel
from scarlet_tf.search.predictor import Predictor
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.network import retrain


def rank(
    supernet: Supernet,
    train_data,
    validation_data,
    config: RankingConfig | dict | None = None,
    retrain_config: RetrainConfig | dict | None = None,
    run_dir=".",
    context: Mapping | str | None = None,
    space: SearchSpace | None = None,
    one_shot_data: tuple | None = None,
    score: Mapping[str, Any] | None = MappingProxyType({}),
) -> dict:
    """Compare one-shot with stand-alone accuracies and write `<run_dir>/ranking/`: result.json, .csv and .png.

    Args:
        supernet: trained, for square images.
        train_data, validation_data: splits, batched tf.data.Datasets or (images, labels). Accuracies of both kinds are
        of the validation images, by which nothing is chosen here.
        config: a RankingConfig or its fields; retrain_config: the other settings of each network's own training.
        context: plain JSON that names the supernet and the data; results kept under another context are not used.
        space, one_shot_data: where the networks have other widths or images than the supernet: the space with theirs, and the
            supernet's (train, validation).
        score: options of the Evaluator that say what a search compares paths by; None for a supernet that was not trained,
            whose paths are not measured.

    Returns the content of result.json: {"tau": {"recalibrated", "running", "loss", "score", "predicted"}: figures of `kendall`,
    "networks": one row each, "settings"}. "predicted" is of the accuracies that a Predictor of the other networks expects of
    each, which is all that there is without a trained supernet.

    Called again, it resumes with the interrupted network. Raises InputError for bad values.
    """
    host.check()
    config, retrain_config = as_settings(RankingConfig, config), as_settings(RetrainConfig, retrain_config)
    training = config.training(retrain_config)
    train_data, validation_data = (as_split(data, supernet.num_classes) for data in (train_data, validation_data))
    costs = _costs(supernet, space)
    samples = stratified_sample(costs, config.architectures, config.strata, config.seed)
    architectures = [sample.architecture for sample in samples]
    folder = pathlib.Path(run_dir) / "ranking"
    seen_train, seen_validation = one_shot_data or (train_data, validation_data)
    one_shot = None
    if score is not None:
        one_shot = measure_one_shot(
            supernet,
            architectures,
            seen_train,
            seen_validation,
            folder,
            config.recalibration_batches,
            config.validation_batch_size,
            config.seed,
            context,
            score,
        )
    alone = train_alone(
        architectures,
        train_data,
        validation_data,
        training,
        folder,
        (costs.input_size, costs.input_size, supernet.image_shape[2]),
        supernet.num_classes,
        context,
    )
    settings = {"ranking": dataclasses.asdict(config), "training": dataclasses.asdict(training)}
    result = {"space": supernet.space.name, **compare(samples, one_shot, alone, config, costs), "settings": settings}
    write_result(folder, result)
    return result


def _costs(supernet: Supernet, space: SearchSpace | None) -> CostTable:
    """Costs of the networks that are trained."""
    if space is None:
        return cost_table(supernet.space, side_of(supernet), supernet.num_classes)
    return cost_table(space, space.input_size, supernet.num_classes)


def compare(
    samples: Sequence[Sample],
    one_shot: Sequence[Mapping] | None,
    alone: Sequence[Mapping],
    config: RankingConfig,
    costs: CostTable,
) -> dict:
    """{"tau": ..., "networks": ...} from the measurements of each sample; `one_shot` is None where there are none."""
    rows: list[dict[str, Any]] = [
        {
            "architecture": sample.architecture.to_string(),
            "stratum": sample.stratum,
            "multiply_adds": sample.multiply_adds,
            "params": sample.params,
            "stand_alone": trained["accuracy"],
            **{f"one_shot_{name}": value for name, value in measured.items()},
        }
        for sample, measured, trained in zip(samples, one_shot or [{}] * len(samples), alone, strict=True)
    ]
    truth = [row["stand_alone"] for row in rows]
    scores = {name: [row[f"one_shot_{name}"] for row in rows] for name in (one_shot or [{}])[0]}
    if "loss" in scores:
        scores["loss"] = [-loss for loss in scores["loss"]]
    fitted = Predictor(CostModel(costs), [sample.architecture.choices for sample in samples], truth, scores.get("loss"))
    scores["predicted"] = fitted.left_out.tolist()
    rows = [{**row, "predicted": value} for row, value in zip(rows, scores["predicted"], strict=True)]
    tau = {name: kendall(told, truth, config.bootstrap_resamples, config.seed) for name, told in scores.items()}
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


def measure_one_shot(
    supernet: Supernet,
    architectures: Sequence[Architecture],
    train_data,
    validation_data,
    folder,
    recalibration_batches: int = 20,
    batch_size: int = 128,
    seed: int = 0,
    context: Mapping | str | None = None,
    score: Mapping[str, Any] = MappingProxyType({}),
) -> list[dict]:
    """One {"recalibrated": accuracy, "running": accuracy, "loss", "score"} for each architecture, on the validation images.

    Loss and score are the recalibrated path's; `score`: options of the Evaluator that say what a search compares by.
    Measurements are kept in a folder of `folder`, from which an interrupted call resumes. `context`: plain
    JSON that names the supernet and the data, to which the kept results belong; `seed`: of the order of training images.
    """
    options = {"recalibration_batches": recalibration_batches, "batch_size": batch_size, "seed": seed}
    settings = {
        **options,
        EVALUATION_KEY: EVALUATION,
        "figures": "accuracies, loss, score",
        "score": dict(score),
        "space": supernet.space.fingerprint,
        "context": context,
    }
    store = Store(folder, "one_shot", settings)
    found = {a: row for a in architectures if (row := store.known(name_of(a))) is not None}
    missing = [a for a in architectures if a not in found]
    if missing:
        make = functools.partial(Evaluator, supernet, validation_data, batch_size=batch_size, seed=seed)
        evaluators = {
            "recalibrated": make(recalibration_data=train_data, recalibration_batches=recalibration_batches, **score),
            "running": make(),
        }
        with progress_bar("one-shot", len(architectures), len(architectures) - len(missing)) as bar:
            for architecture in missing:
                measure = functools.partial(_measure, evaluators, architecture)
                found[architecture] = store.get(name_of(architecture), measure)
                bar.advance()
    return [found[architecture] for architecture in architectures]


def _measure(evaluators: Mapping[str, Evaluator], architecture: Architecture) -> dict:
    found = {name: evaluator.evaluate(architecture) for name, evaluator in evaluators.items()}
    accuracies = {name: figures["accuracy"] for name, figures in found.items()}
    return {**accuracies, **{name: found["recalibrated"][name] for name in ("loss", "score")}}


logger = logging.getLogger("scarlet_tf")
_IMMATERIAL = ("checkpoint_seconds", "validate_every_epochs", "pick")


def train_alone(
    architectures: Sequence[Architecture],
    train_data,
    validation_data,
    settings: RetrainConfig,
    folder,
    input_shape: tuple[int, int, int],
    num_classes: int,
    context: Mapping | str | None = None,
) -> list[dict]:
    """{"accuracy", "loss", "num_examples", "steps"} of each architecture after its training, on the validation images.

    Results are kept in a folder of `folder`: an interrupted call resumes with the network in training, from its last
    checkpoint. `context`: plain JSON that names the data, to which the kept results belong. A chief and its workers share the
    trainings out.
    """
    plain = {key: value for key, value in dataclasses.asdict(settings).items() if key not in _IMMATERIAL}
    size = {"input_shape": list(input_shape), "num_classes": num_classes}
    spaces = sorted({architecture.space.fingerprint for architecture in architectures})
    store = Store(folder, "standalone", {**plain, **size, "spaces": spaces, "context": context})

    def train(architecture: Architecture) -> None:
        name = name_of(architecture)
        logger.info("stand-alone network %s (%d of %d)", architecture.to_string(), bar.done + 1, bar.total)
        figures = _train(architecture, train_data, validation_data, settings, store.folder / name, size)
        store.put(name, figures)
        shutil.rmtree(store.folder / name / "retrain", ignore_errors=True)  # checkpoints; the figures are kept
        bar.advance(1, accuracy=figures["accuracy"])

    done = sum(store.known(name_of(architecture)) is not None for architecture in architectures)
    bar = Bar("stand-alone", len(architectures), done)  # lines only: each training shows its own bar
    share(
        architectures,
        lambda architecture: store.folder / name_of(architecture),
        lambda architecture: store.known(name_of(architecture)) is not None,
        train,
    )
    if search_role() == "alone":  # others may look for locks there
        for architecture in architectures:
            shutil.rmtree(store.folder / name_of(architecture), ignore_errors=True)
    return [store.get(name_of(architecture), dict) for architecture in architectures]


def _train(architecture: Architecture, train_data, validation_data, settings: RetrainConfig, work, size: dict) -> dict:
    _, figures = retrain(
        architecture,
        train_data,
        validation_data,
        settings,
        run_dir=work,
        input_shape=tuple(size["input_shape"]),
        num_classes=size["num_classes"],
    )
    gc.collect()  # the network's traced graphs refer to each other
    return {**figures["validation"], "steps": figures["steps"]}
