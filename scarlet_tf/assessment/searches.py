"""Execution of one search of a comparison, on evaluations that all searches share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from scarlet_tf.assessment.store import Store
from scarlet_tf.cost import CostTable
from scarlet_tf.progress import progress_bar
from scarlet_tf.search.algorithm import Algorithm, encode
from scarlet_tf.search.config import SearchConfig, new_algorithm

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
