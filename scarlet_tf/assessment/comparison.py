"""compare: the number of evaluations that each search needs, on one supernet."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from scarlet_tf.assessment.plots import save_curves
from scarlet_tf.assessment.statistics import evaluations_to, hypervolume_curve, median, median_figures, ratio_figures
from scarlet_tf.assessment.store import Store
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import write_result
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.search.algorithm import Algorithm, encode
from scarlet_tf.search.config import MutationConfig, SearchConfig, evaluator_options, side_of
from scarlet_tf.search.journal import EVALUATION, EVALUATION_KEY, EvaluationTable
from scarlet_tf.search.objectives import check_known, cost_model_and_objectives
from scarlet_tf.search.run import new_algorithm
from scarlet_tf.space.cost import CostTable, cost_table

logger = logging.getLogger("scarlet_tf")
REFERENCE = "random"  # the reference search
VARIANTS: dict[str, dict] = {
    "random": {"algorithm": "random"},
    "nsga2_plain": {"algorithm": "nsga2", "mutation": MutationConfig(kind="uniform")},
    "nsga2": {"algorithm": "nsga2"},
    "keras_tuner_random": {"algorithm": "keras_tuner_random"},
    "keras_tuner_bayesian": {"algorithm": "keras_tuner_bayesian"},
}
# Without keras_tuner_bayesian, whose trials take longer with their number.
DEFAULT = tuple(name for name in VARIANTS if name != "keras_tuner_bayesian")


def compare(
    supernet,
    config: SearchConfig,
    evaluator,
    run_dir=".",
    algorithms: Sequence[str] = DEFAULT,
    seeds: Sequence[int] = (0, 1, 2),
    evaluations: int | None = None,
    context: Mapping | str | None = None,
    costs: CostTable | None = None,
) -> dict:
    """Run every algorithm with every seed on `supernet` and write `<run_dir>/compare/`: compare.json, hypervolume.png.

    Args:
        supernet: trained, for square images.
        config: the run's search; a variant changes only what its name says (variants.py).
        evaluator: see SupernetTuner. An architecture is evaluated once for all searches: its score is kept in
        compare/evaluations.jsonl.
        evaluations: different architectures that each search may have evaluated; by default as many as `config` asks for.
        context: plain JSON that names the supernet and the data; evaluations of another context are refused.
        costs: of the networks searched, if they are not of the supernet's own widths and image size.

    Returns the content of compare.json, which is written after each seed: see `figures`. Called again, it resumes. Raises
    InputError for bad values.
    """
    evaluations = config.population_size * config.generations if evaluations is None else evaluations
    settings = variants(config, algorithms)
    costs = costs or cost_table(supernet.space, side_of(supernet), supernet.num_classes)
    _check(seeds, evaluations, config, costs)
    folder = pathlib.Path(run_dir) / "compare"
    measured = {"space": supernet.space.fingerprint, "context": context, **evaluator_options(config)}
    measured[EVALUATION_KEY] = EVALUATION
    known = {**measured, "table": cost_model_and_objectives(costs, **config.objective_settings(costs))[0].fingerprint}
    searches: dict[str, list[dict]] = {name: [] for name in algorithms}
    with EvaluationTable(folder / "evaluations.jsonl", measured, evaluator) as table:
        for seed in seeds:
            for name in algorithms:
                variant = dataclasses.replace(settings[name], seed=seed)
                searches[name].append(kept_search(folder / "searches", known, name, variant, costs, table, evaluations))
            result = figures(searches, seeds, costs, config) | {
                "space": supernet.space.name,
                "evaluations": evaluations,
                "evaluated": len(table),
                "complete": seed == seeds[-1],
            }
            _write(folder, result, searches, costs, config)
    return result


def figures(
    searches: Mapping[str, Sequence[Mapping]], seeds: Sequence[int], costs: CostTable, config: SearchConfig
) -> dict:
    """Figures of the searches, given for each algorithm in the order of `seeds`, in plain JSON types.

    target: the hypervolume that half of the random searches reach (without random searches, the least that an
    algorithm's median reaches). algorithms: for each the final hypervolume and the evaluations to reach the target,
    medians over seeds with 95 % intervals, and the ratio of these evaluations to random's; None: not reached.
    """
    curves = curves_of(searches, costs, config)
    finals = {name: [curve[-1] for curve in some] for name, some in curves.items()}
    target = median(finals[REFERENCE]) if finals.get(REFERENCE) else min(median(some) for some in finals.values())
    needed = {name: [evaluations_to(curve, target) for curve in some] for name, some in curves.items()}
    rows = {}
    for name, some in curves.items():
        row = {
            "seeds": len(some),
            "evaluations": [len(search["architectures"]) for search in searches[name]],
            "hypervolume": median_figures(finals[name]),
            "evaluations_to_target": median_figures(needed[name]),
        }
        if REFERENCE in curves:
            row["ratio_to_random"] = ratio_figures(needed[name], needed[REFERENCE], len(curves[REFERENCE][0]))
        row["searches"] = [
            {
                "seed": seed,
                "repeats": search["repeats"],
                "over_budget": search["over_budget"],
                "hypervolume": steps(curve),
            }
            for seed, search, curve in zip(seeds, searches[name], some, strict=False)
        ]
        rows[name] = row
    return {"bounds": config.objectives().bounds_in_words(), "target": target, "algorithms": rows}


def curves_of(searches: Mapping, costs: CostTable, config: SearchConfig) -> dict[str, list[np.ndarray]]:
    """Hypervolume curves of the searches of each algorithm that has any."""
    known = cost_model_and_objectives(costs, **config.objective_settings(costs))
    curve = functools.partial(hypervolume_curve, cost_model=known[0], objectives=known[1])
    return {name: [curve(search) for search in some] for name, some in searches.items() if some}


def steps(curve: np.ndarray) -> list[list[float]]:
    """[evaluations, hypervolume] of the first evaluation, of each at which the curve rises, and of the last."""
    rises = np.flatnonzero(np.diff(curve, prepend=-1.0) > 0)
    places = sorted({*rises.tolist(), len(curve) - 1})
    return [[place + 1, float(curve[place])] for place in places]


def _write(folder: pathlib.Path, result: dict, searches: Mapping, costs: CostTable, config: SearchConfig) -> None:
    curves = curves_of(searches, costs, config)
    title = ", ".join([result["space"], *result["bounds"]])
    save_curves(folder / "hypervolume.png", curves, result["target"], title=title)
    write_result(folder / "compare.json", result)


def _check(seeds: Sequence[int], evaluations: int, config: SearchConfig, costs: CostTable) -> None:
    cost_model, objectives = cost_model_and_objectives(costs, **config.objective_settings(costs))
    check_known(cost_model, objectives)  # a comparison keeps only the accuracy of an evaluation
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InputError(f"--seeds: expected different integers >= 0, got {list(seeds)}")
    if evaluations < config.population_size:
        raise InputError(
            f"--evaluations: expected at least search.population_size, which is {config.population_size}, got {evaluations}"
        )


def variants(config: SearchConfig, names: Sequence[str]) -> dict[str, SearchConfig]:
    """The settings of each of `names`; InputError for unknown or repeated ones."""
    for name in names:
        if name not in VARIANTS:
            raise InputError(f"--algorithms: expected some of {', '.join(VARIANTS)}, got {name!r}")
    if not names or len(set(names)) != len(names):
        raise InputError(f"--algorithms: expected at least one and no repeats, got {list(names)}")
    found = {name: dataclasses.replace(config, **VARIANTS[name]) for name in names}
    if "nsga2_plain" in found:  # the same objectives, with equal weights
        weights = dict.fromkeys(config.objectives().names, 1.0)
        found["nsga2_plain"] = dataclasses.replace(found["nsga2_plain"], weights=weights)
    return found


# Generations allowed for each one that a search without repeated architectures would need.
PATIENCE = 2
# Settings of a search that do not affect the result of `run_search`; a kept search's name has the seed.
_IMMATERIAL = ("generations", "picks", "seed", "evaluation_group", "evaluation_memory_mib", "stale_trial_minutes")


def run_search(
    config: SearchConfig, costs: CostTable, evaluator, evaluations: int, progress: Callable[[], None] = lambda: None
) -> dict:
    """Run the search that `config` describes from its start, up to `evaluations` different architectures.

    Only an architecture's first evaluation counts, for every algorithm: a repeated one costs nothing. So
    `config.generations` does not matter. Returns {"architectures": canonical strings in the order of evaluation,
    "accuracies": theirs, "repeats": the number of repeated requests, "over_budget": the number of requests above the
    budget, which only an algorithm without a budget makes}.
    """
    needed = max(2, math.ceil(evaluations / config.population_size))
    generations = needed if config.algorithm.startswith("keras_tuner") else PATIENCE * needed + 2
    algorithm = new_algorithm(dataclasses.replace(config, generations=generations), costs)
    found: dict[tuple[int, ...], float | None] = {}
    repeats = 0
    while not algorithm.finished and len(found) < evaluations:
        asked = [tuple(genome) for genome in algorithm.ask().tolist()]
        fresh = [genome for genome in dict.fromkeys(asked) if genome not in found][: evaluations - len(found)]
        found |= dict.fromkeys(fresh)  # counted in the order in which the algorithm asked
        evaluator.begin_generation(sorted(fresh))
        for genome in sorted(fresh):
            found[genome] = evaluator.evaluate(genome)["accuracy"]
            progress()
        if not all(genome in found for genome in asked):
            break  # in the middle of a generation
        repeats += len(asked) - len(fresh)
        algorithm.tell([{"accuracy": found[genome]} for genome in asked])
    return {
        "architectures": encode(list(found)),
        "accuracies": list(found.values()),
        "repeats": repeats + _count(algorithm, "repeats"),
        "over_budget": _count(algorithm, "over_budget"),
    }


def kept_search(
    folder, context: Mapping, name: str, config: SearchConfig, costs: CostTable, evaluator, evaluations: int
) -> dict:
    """The result of `run_search`, kept in a folder of `folder` from an earlier call, or computed now.

    name: of the kind of search. context: plain JSON, what evaluations depend on.
    """
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in _IMMATERIAL}
    store = Store(folder, f"search-{name}", {**context, "search": settings, "evaluations": evaluations})
    with progress_bar(f"{name}, seed {config.seed}", evaluations) as bar:
        return store.get(f"seed-{config.seed}", lambda: run_search(config, costs, evaluator, evaluations, bar.advance))


def _count(algorithm: Algorithm, name: str) -> int:
    return getattr(algorithm, name, 0)
