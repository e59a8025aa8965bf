"""Number of evaluations that searches need on a trained supernet, against random search and against the true front."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from scarlet_tf.assessment.comparison import kept_search
from scarlet_tf.assessment.plots import save_curves
from scarlet_tf.assessment.statistics import evaluations_to, hypervolume_curve, median_figures, ratio_figures
from scarlet_tf.assessment.store import digest
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.search.front import Archive
from scarlet_tf.search.journal import EvaluationTable
from scarlet_tf.search.objectives import cost_model_and_objectives
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.config import SupernetConfig
from studies.settings import TableConfig
from studies.workshop import Workshop, over_seeds

# Networks that an evaluator gets at once. In lexicographic order so many share most of their layers, and an
# interrupted table loses no more than these.
CHUNK = 625
Curves = dict[str, list[np.ndarray]]


def run(shop: Workshop) -> dict:
    """The table: a row for each supernet, its seed and algorithm, then means over the supernets' seeds."""
    study, comparison = shop.study, shop.study.sections["comparison"]
    costs = cost_table(study.space, study.data.image_size, shop.data.num_classes)
    rows, fronts = [], []
    shares: dict = {}
    for name, seed, settings, supernet in shop.supernets():
        context = table_context(shop, settings, study.sections["table"])
        with open_table(shop, supernet, context, study.sections["table"]) as table:
            curves = _curves(shop, context, table, costs)
            front = _front_of(table, costs, study.sections["search"])
        if not front.hypervolume > 0:
            raise InputError("search: expected bounds that leave a front with a hypervolume, but it is 0")
        place = {"supernet": name, "seed": seed}
        size = {"networks": len(table), "front": len(front.values)}
        fronts.append({**place, **size, "hypervolume": front.hypervolume})
        rows += [{**place, **row} for row in describe(curves, front.hypervolume, comparison.fractions)]
        for algorithm, some in curves.items():
            shares.setdefault(algorithm, []).extend(curve / front.hypervolume for curve in some)
        figures = [key for key in rows[0] if key.endswith(("_median", "_ratio"))]
        total = shop.num_supernets * len(comparison.algorithms)
        result = shop.save(rows, over_seeds(rows, ["supernet", "algorithm"], figures), total, fronts=fronts)
        label = "share of the front's hypervolume"
        save_curves(shop.folder / "hypervolume.png", shares, ylabel=label, title=study.name)
    return result


def describe(curves: Curves, whole: float, fractions) -> list[dict]:
    """One row an algorithm: medians over its searches with 95 % intervals; None: not reached."""
    rows = []
    for name, some in curves.items():
        final = median_figures([curve[-1] / whole for curve in some])
        row = {"algorithm": name, "searches": len(some), "final_share": final, "final_share_median": final["median"]}
        for fraction in fractions:
            needed, reference = (
                [evaluations_to(curve, fraction * whole) for curve in curves[which]] for which in (name, "random")
            )
            spent = max(len(curve) for curve in curves["random"])
            figures, ratio = median_figures(needed), ratio_figures(needed, reference, spent)
            key = f"evaluations_to_{fraction:g}"
            row |= {key: figures, f"{key}_median": figures["median"], f"{key}_reached": int(np.isfinite(needed).sum())}
            row |= {f"{key}_against_random": ratio, f"{key}_ratio": ratio["median"]}
        rows.append(row)
    return rows


def _curves(shop: Workshop, context: Mapping, table: EvaluationTable, costs: CostTable) -> Curves:
    """Curves of hypervolume against evaluations, of each algorithm and seed."""
    search, comparison = shop.study.sections["search"], shop.study.sections["comparison"]
    curves: Curves = {name: [] for name in comparison.algorithms}
    for name, some in curves.items():
        for seed in range(comparison.seeds):
            config = comparison.variant(name, search, seed)
            found = kept_search(shop.cache, context, name, config, costs, table, comparison.evaluations)
            known = cost_model_and_objectives(costs, **config.objective_settings(costs))
            some.append(hypervolume_curve(found, *known))
    return curves


def _front_of(table: EvaluationTable, costs: CostTable, search) -> Archive:
    """The front of all networks in the table that meet the budget."""
    front = Archive(*cost_model_and_objectives(costs, **search.objective_settings(costs)))
    known = dict(table.items())
    front.add(np.array(list(known)), [{"accuracy": metrics["accuracy"]} for metrics in known.values()])
    return front


def open_table(shop: Workshop, supernet: Supernet, context: Mapping, config: TableConfig) -> EvaluationTable:
    """The table of a supernet, named by `context`, in the studies' cache; complete if `config` requires it."""
    data = shop.data
    if config.images > data.validation.num_examples:
        raise InputError(f"table.images: expected at most {data.validation.num_examples}, got {config.images}")
    images = data.validation.take(config.images, config.seed)
    options = {key: getattr(config, key) for key in ("recalibration_batches", "batch_size", "seed")}
    evaluator = Evaluator(supernet, images, recalibration_data=data.train, **options)
    table = EvaluationTable(shop.cache / f"table-{digest(context)}.jsonl", context, evaluator)
    if config.exhaustive:
        fill(table, supernet.space)
    return table


def table_context(shop: Workshop, settings: SupernetConfig, config: TableConfig) -> dict:
    """Plain JSON that names the table: everything that its accuracies depend on."""
    measured = {key: value for key, value in dataclasses.asdict(config).items() if key != "exhaustive"}
    return {"supernet": shop.context(settings), "table": measured}


def fill(table: EvaluationTable, space: SearchSpace, chunk: int = CHUNK) -> None:
    """Evaluate every architecture of the space that is not in the table yet."""
    every = itertools.product(range(space.num_choices), repeat=space.num_layers)
    with progress_bar("table", space.size, len(table)) as bar:
        while part := list(itertools.islice(every, chunk)):
            missing = [choices for choices in part if choices not in table]
            table.begin_generation(missing)
            for choices in missing:
                table.evaluate(choices)
                bar.advance()
