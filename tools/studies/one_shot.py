"""One-shot accuracies of a fixed panel of random paths under several supernets (SCARLET-NAS v2, figure 1)."""

from __future__ import annotations

import numpy as np

from scarlet_tf.assessment.ranking import measure_one_shot
from scarlet_tf.space import Architecture, SearchSpace
from scarlet_tf.training.config import SupernetConfig
from studies import plots
from studies.summary import over_seeds
from studies.workshop import Workshop

MEASUREMENTS = ("recalibrated", "running")
_FIGURES = [f"{m}_{name}" for m in MEASUREMENTS for name in ("mean", "deviation", "worst", "best")]


def run(shop: Workshop) -> dict:
    """The table: a row for each supernet and seed, then means over seeds."""
    study, data, panel = shop.study, shop.data, shop.study.sections["panel"]
    paths = random_paths(study.space, panel.paths, panel.seed)
    rows, accuracies = [], []
    for name, seed, config, supernet in shop.supernets():
        measured = measure_one_shot(
            supernet,
            paths,
            data.train,
            data.validation,
            shop.cache,
            panel.recalibration_batches,
            panel.batch_size,
            panel.seed,
            shop.context(config),
        )
        values = {m: [row[m] for row in measured] for m in MEASUREMENTS}
        rows.append({"supernet": name, "seed": seed, **passes(config, shop), **describe(paths, values)})
        accuracies.append({"supernet": name, "seed": seed, **values})
        table = shop.save(
            rows,
            over_seeds(rows, ["supernet"], _FIGURES),
            len(rows) == len(study.seeds) * len(study.supernets),
            paths=[path.to_string() for path in paths],
            accuracies=accuracies,
        )
        plots.histograms(shop.folder / "histograms.png", accuracies, MEASUREMENTS)
    return table


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
    paths = shop.study.space.num_choices if config.sampling == "strict_fair" else 1
    return {"steps": steps, "backward_passes": steps * paths}
