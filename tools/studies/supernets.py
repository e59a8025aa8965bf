"""Studies that measure each supernet, and one that trains a stand-alone network.

one_shot: accuracies of a fixed panel of random paths (SCARLET-NAS v2, figure 1). similarity: cosines of the outputs of a layer's
choices for the same input (figure 5). ranking: Kendall's tau against training the networks on their own. curves: training
curves of one network with different kinds of skip in it (figure 3).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from scarlet_tf.assessment.plots import SERIES
from scarlet_tf.assessment.ranking import compare, measure_one_shot, train_alone, write_result
from scarlet_tf.assessment.statistics import stratified_sample
from scarlet_tf.assessment.store import Store
from scarlet_tf.evaluation.batch_norm import moving_statistics
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.space.cost import cost_table, count_spec
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.sampling import paths_of_a_step
from studies import plots
from studies.workshop import Workshop, over_seeds

logger = logging.getLogger("scarlet_tf")
MEASUREMENTS = ("recalibrated", "running")
_OF_A_PANEL = [f"{m}_{name}" for m in MEASUREMENTS for name in ("mean", "deviation", "worst", "best")]
_OF_A_LAYER = ["mean", "with_skip", "without_skip"]
_OF_A_CURVE = ["train_accuracy", "train_loss", "validation_accuracy", "validation_loss"]


def one_shot(shop: Workshop) -> dict:
    """The table: a row for each supernet and seed, then means over seeds."""
    study, panel = shop.study, shop.study.sections["panel"]
    paths = random_paths(study.space, panel.paths, panel.seed)
    rows, accuracies = [], []
    for name, seed, config, supernet in shop.supernets():
        sizes = (panel.recalibration_batches, panel.batch_size, panel.seed)
        measured = _one_shot(shop, config, supernet, paths, *sizes)
        values = {m: [row[m] for row in measured] for m in MEASUREMENTS}
        rows.append({"supernet": name, "seed": seed, **passes(config, shop), **describe(paths, values)})
        accuracies.append({"supernet": name, "seed": seed, **values})
        details = {"paths": [path.to_string() for path in paths], "accuracies": accuracies}
        table = shop.save(rows, over_seeds(rows, ["supernet"], _OF_A_PANEL), shop.num_supernets, **details)
        plots.histograms(shop.folder / "histograms.png", accuracies, MEASUREMENTS)
    return table


def _one_shot(shop: Workshop, config: SupernetConfig, supernet: Supernet, paths, *sizes: int) -> list[dict]:
    images, context = (shop.data.train, shop.data.validation), shop.context(config)
    batches, batch_size, seed = sizes
    return measure_one_shot(supernet, paths, *images, shop.cache, batches, batch_size, seed, context)


def random_paths(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """`count` different paths, at most as many as the space has, drawn uniformly with `seed`."""
    rng = np.random.default_rng(seed)
    paths: dict[tuple, Architecture] = {}
    while len(paths) < count:
        path = space.sample(rng)
        paths.setdefault(path.choices, path)
    return list(paths.values())


def describe(paths: list[Architecture], values: dict[str, list[float]]) -> dict:
    """Mean, standard deviation over paths, worst and best of each measurement, and the worst path."""
    figures: dict[str, float | str] = {}
    for name, accuracies in values.items():
        figures |= {
            f"{name}_mean": float(np.mean(accuracies)),
            f"{name}_deviation": float(np.std(accuracies)),
            f"{name}_worst": min(accuracies),
            f"{name}_best": max(accuracies),
            f"{name}_worst_path": paths[int(np.argmin(accuracies))].to_string(),
        }
    return figures


def passes(config: SupernetConfig, shop: Workshop) -> dict:
    """Optimizer steps, and forward-backward passes of single paths: a fair step has one for each choice."""
    steps = config.epochs * shop.data.train.steps_per_epoch(config.batch_size)
    paths = paths_of_a_step(config.sampling, shop.study.space, config.sandwich_random)
    return {"steps": steps, "backward_passes": steps * paths}


def similarity(shop: Workshop) -> dict:
    """The table: a row for each supernet, seed and layer, then means over seeds."""
    study, settings = shop.study, shop.study.sections["similarity"]
    labels = [choice.label for choice in study.space.choices]
    images = next(iter(shop.data.validation.batches(settings.images)))[0]  # [B, H, W, C]
    paths = random_paths(study.space, min(settings.prefixes, study.space.size), settings.seed)
    rows, matrices = [], []
    for name, seed, config, supernet in shop.supernets():
        store = Store(shop.cache, "similarity", {**dataclasses.asdict(settings), **shop.context(config)})
        for layer in settings.layers:
            measure = lambda: {"cosine": similarities(supernet, images, layer, paths).tolist()}  # noqa: B023, E731
            place, found = {"supernet": name, "seed": seed, "layer": layer}, store.get(f"layer{layer}", measure)
            rows.append({**place, **by_skip(study.space, found["cosine"])})
            matrices.append({**place, **found})
        total = shop.num_supernets * len(settings.layers)
        summary = over_seeds(rows, ["supernet", "layer"], _OF_A_LAYER)
        table = shop.save(rows, summary, total, matrices=matrices, choices=labels)
        plots.heatmaps(shop.folder / "similarity.png", matrices, labels)
    return table


def similarities(supernet: Supernet, images, layer: int, paths: Sequence[Architecture]) -> np.ndarray:
    """Cosines [m, m] between the outputs of the m choices of `layer`, in the mean over `images` [B, H, W, C] and paths.

    Each path goes through the layers in front; each output [H, W, C] of an image is one vector. BN normalises by the
    batch, as in training, so no path's statistics are used for another's; moving statistics do not change.
    """
    count = supernet.space.num_choices
    total = np.zeros((count, count))
    with _statistics_kept(supernet):
        stem = supernet.stem(images, training=True)
        block = supernet.choice_blocks[layer]
        for path in paths:
            x = stem
            for before, choice in zip(supernet.choice_blocks[:layer], path.choices, strict=False):
                x = before.run(choice, x, training=True)
            outputs = [block.run(choice, x, training=True) for choice in range(count)]
            total = total + cosines(np.stack([keras.ops.convert_to_numpy(output) for output in outputs]))
    return total / len(paths)


def cosines(features: np.ndarray) -> np.ndarray:
    """[m, m] from features [m, B, ...]: the cosine of each pair's vectors, in the mean over B; zero for a zero vector."""
    flat = features.reshape(*features.shape[:2], -1).astype(np.float64)
    lengths = np.linalg.norm(flat, axis=-1, keepdims=True)
    flat = np.divide(flat, lengths, out=np.zeros_like(flat), where=lengths > 0)
    return np.einsum("mbf,nbf->mn", flat, flat) / flat.shape[1]


@contextlib.contextmanager
def _statistics_kept(supernet: Supernet) -> Iterator[None]:
    candidates = [candidate for block in supernet.choice_blocks for candidate in block.candidates]
    statistics = moving_statistics([supernet.stem, supernet.tail, *candidates])
    before = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in statistics]
    try:
        yield
    finally:
        for variable, value in zip(statistics, before, strict=True):
            variable.assign(value)


def by_skip(space: SearchSpace, matrix) -> dict:
    """Means over pairs of different choices: all, those with a skip in them, those without; None where there are none."""
    matrix = np.asarray(matrix)
    skip = np.array([choice.is_skip for choice in space.choices])
    pairs = np.triu(np.ones(matrix.shape, bool), 1)
    with_skip = pairs & (skip[:, None] | skip[None, :])
    groups = {"mean": pairs, "with_skip": with_skip, "without_skip": pairs & ~with_skip}
    return {name: float(matrix[chosen].mean()) if chosen.any() else None for name, chosen in groups.items()}


def ranking(shop: Workshop) -> dict:
    """The table: a row for each supernet and seed, then means over seeds. Every supernet faces the same networks."""
    study, data, config = shop.study, shop.data, shop.study.sections["ranking"]
    costs = cost_table(study.space, study.data.image_size, data.num_classes)
    samples = stratified_sample(costs, config.architectures, config.strata, config.seed)
    networks, training = [sample.architecture for sample in samples], config.training(study.sections["retrain"])
    size = (shop.input_shape, data.num_classes)
    alone = train_alone(networks, data.train, data.validation, training, shop.cache, *size, shop.data_context)
    rows: list[dict] = []
    for name, seed, settings, supernet in shop.supernets():
        sizes = (config.recalibration_batches, config.validation_batch_size, config.seed)
        measured = _one_shot(shop, settings, supernet, networks, *sizes)
        result = {"space": study.space.name, **compare(samples, measured, alone, config, costs)}
        write_result(shop.folder / f"{name}-seed{seed}", result, f"{name}, seed {seed}: {len(samples)} networks")
        row = {"supernet": name, "seed": seed}
        for series, figures in result["tau"].items():
            row |= {f"{key}_{series}": figures[key] for key in ("tau", "low", "high")}
        rows.append(row)
        summary = over_seeds(rows, ["supernet"], [f"tau_{series}" for series in SERIES])
        table = shop.save(rows, summary, shop.num_supernets)
        plots.taus(shop.folder / "tau.png", rows, SERIES)
    return table


def curves(shop: Workshop) -> dict:
    """The table: a row for each kind of skip and seed, then means over seeds."""
    study, section = shop.study, shop.study.sections["curves"]
    architecture = Architecture.parse(section.architecture, study.space)
    rows, histories = [], []
    for seed in study.seeds:
        for skip in section.skips:
            spec = architecture.lower(shop.input_shape, shop.data.num_classes, skip=skip)
            settings = dataclasses.replace(study.sections["retrain"], seed=seed)
            logger.info("%s: skips of kind %s, seed %d", study.name, skip, seed)
            known = {**dataclasses.asdict(settings), "network": spec.to_dict(), **shop.data_context}
            del known["checkpoint_seconds"]
            store = Store(shop.folder, f"{skip}-seed{seed}", known)
            found = shop.retrained(spec, settings, store)
            last, validation = found["history"][-1], found["validation"]
            row = {"skip": skip, "seed": seed, "multiply_adds": count_spec(spec).multiply_adds}
            row |= {f"train_{key}": last[key] for key in ("accuracy", "loss")}
            rows.append(row | {f"validation_{key}": validation[key] for key in ("accuracy", "loss")})
            histories.append({"skip": skip, "seed": seed, "history": found["history"]})
            total = len(study.seeds) * len(section.skips)
            table = shop.save(rows, over_seeds(rows, ["skip"], _OF_A_CURVE), total, histories=histories)
            plots.curves(shop.folder / "curves.png", histories)
    return table
