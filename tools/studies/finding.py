"""Networks found by BetaNAS and by SCARLET's search beside random ones and MobileNetV2's own, trained alike."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np

from scarlet_tf.assessment.comparison import kept_search
from scarlet_tf.assessment.statistics import kendall
from scarlet_tf.assessment.store import digest
from scarlet_tf.cost import CostTable, cost_table
from scarlet_tf.errors import InputError
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.config import SearchConfig, evaluator_options, new_algorithm
from scarlet_tf.search.journal import EvaluationTable
from scarlet_tf.space import Architecture
from studies import finding_plot
from studies.alone import trained_alone
from studies.betanas import find
from studies.one_shot import passes
from studies.summary import over_seeds
from studies.workshop import Workshop

_COSTS = ["weight_passes", "gate_passes", "evaluations", "supernet_cpu_seconds", "search_cpu_seconds"]
_FIGURES = ["multiply_adds", "params", "one_shot", "validation", "test"]


def run(shop: Workshop) -> dict:
    """The table: a row for each network and seed, then means over seeds."""
    study, settings = shop.study, shop.study.sections["finding"]
    if settings.test_images > shop.data.test.num_examples:
        there = shop.data.test.num_examples
        raise InputError(f"finding.test_images: expected at most {there}, got {settings.test_images}")
    test = shop.data.test.take(settings.test_images)
    costs = cost_table(study.space, study.data.image_size, shop.data.num_classes)
    rows = []
    for seed in study.seeds:
        recipe = dataclasses.replace(study.sections["retrain"], seed=seed)
        for found in _networks(shop, costs, seed):
            architecture = Architecture.parse(found["architecture"], study.space)
            accuracies = trained_alone(shop, architecture, recipe, test)
            multiply_adds, params = costs.count_one(architecture.choices)
            figures = {"multiply_adds": multiply_adds, "params": params, **accuracies}
            spent = {name: found.pop(name, None) for name in _COSTS}
            rows.append({"method": found.pop("method"), "seed": seed, **found, **figures, **spent})
            table = shop.save(
                rows,
                over_seeds(by_method(rows), ["method"], [*_FIGURES, *_COSTS]),
                len(rows) == len(study.seeds) * (3 + settings.random),
                order=one_shot_order(rows),
            )
            finding_plot.save(shop.folder / "finding.png", rows, study.sections["search"].budget)
    return table


def one_shot_order(rows: Sequence[Mapping]) -> list[dict]:
    """{"seed", "networks", "tau"} of each seed: agreement between the supernet's order of its networks and retraining's.

    tau: Kendall's, between one-shot and test accuracy, of the networks that this supernet scored, BetaNAS' not being one;
    None for fewer than two.
    """
    found = []
    for seed in dict.fromkeys(row["seed"] for row in rows):
        scored = [row for row in rows if row["seed"] == seed and row["method"] != "betanas"]
        one_shot, test = ([row[name] for row in scored] for name in ("one_shot", "test"))
        tau = kendall(one_shot, test, resamples=0)["tau"] if len(scored) > 1 else None
        found.append({"seed": seed, "networks": len(scored), "tau": tau})
    return found


def by_method(rows: Sequence[Mapping]) -> list[dict]:
    """One row per method and seed: of a seed's random networks both their mean and the one with the best validation accuracy."""
    methods = [dict(row) for row in rows if row["method"] != "random"]
    for seed in dict.fromkeys(row["seed"] for row in rows):
        draws = [row for row in rows if (row["method"], row["seed"]) == ("random", seed)]
        if draws:
            means = {name: float(np.mean([row[name] for row in draws])) for name in _FIGURES}
            methods.append({**draws[0], **means, "method": "random, mean"})
            methods.append({**max(draws, key=lambda row: row["validation"]), "method": "random, best by validation"})
    return methods


def _networks(shop: Workshop, costs: CostTable, seed: int) -> Iterator[dict]:
    """{"method", "architecture", "one_shot", and the cost of finding it} of each network of a seed.

    One-shot accuracies are those of the supernet that the network was found on; for networks that were not found on one,
    those of the searched one.
    """
    study, settings, search = shop.study, shop.study.sections["finding"], shop.study.sections["search"]
    reference = Architecture.parse(settings.reference, study.space)
    random = random_networks(costs, search, settings.random, settings.floor, seed)
    _check_reference(reference, costs, search)
    yield _by_betanas(shop, seed)
    gc.collect()  # the graphs of a supernet no longer needed refer to each other

    config = dataclasses.replace(study.supernets["scarlet"], seed=seed)
    supernet = shop.trained(config)
    options = evaluator_options(search)
    evaluator = Evaluator(supernet, shop.data.validation, shop.data.train, **options)
    context = {"supernet": shop.context(config), "evaluation": options}
    with EvaluationTable(shop.cache / f"table-{digest(context)}.jsonl", context, _Timed(evaluator)) as table:
        budget = settings.evaluations
        search = dataclasses.replace(search, seed=seed)
        found = kept_search(shop.cache, context, "scarlet", search, costs, table, budget)
        others = {
            network: table.evaluate(network.choices)["accuracy"] for network in dict.fromkeys([reference, *random])
        }
        spent = sum(table.evaluate(decode(line))["cpu_seconds"] for line in found["architectures"])
    yield {
        "method": "scarlet",
        **best(found),
        "weight_passes": passes(config, shop)["backward_passes"],
        "gate_passes": 0,
        "evaluations": len(found["architectures"]),
        "supernet_cpu_seconds": shop.cpu_seconds(config),
        "search_cpu_seconds": spent,
    }
    del supernet, evaluator, table
    gc.collect()
    for method, networks in (("mobilenet_v2", [reference]), ("random", random)):
        for network in networks:
            yield {"method": method, "architecture": network.to_string(), "one_shot": others[network]}


def _by_betanas(shop: Workshop, seed: int) -> dict:
    found = find(shop, dataclasses.replace(shop.study.supernets["betanas"], seed=seed), shop.study.sections["search"])
    steps = found.phases.total_steps
    return {
        "method": "betanas",
        "architecture": found.network["architecture"],
        "one_shot": found.network["accuracy"],
        "weight_passes": found.phases.weight_steps(steps),
        "gate_passes": found.phases.importance_steps(steps),
        "evaluations": 1,
        "supernet_cpu_seconds": found.cpu_seconds,
    }


def best(found: Mapping) -> dict:
    """The most accurate network that a search evaluated, the first of equals."""
    place = int(np.argmax(found["accuracies"]))
    return {"architecture": found["architectures"][place], "one_shot": found["accuracies"][place]}


def random_networks(costs: CostTable, search: SearchConfig, count: int, floor: float, seed: int) -> list[Architecture]:
    """Different networks within the search's bounds and with at least `floor` of its budget of multiply-adds."""
    lower_bounds = {**search.lower_bounds, "multiply_adds": floor * cast(float, search.budget)}
    drawn = dataclasses.replace(
        search, algorithm="random", population_size=max(2, count), seed=seed, lower_bounds=lower_bounds
    )
    genomes = new_algorithm(drawn, costs).ask()
    networks = [Architecture(genome, costs.space) for genome in dict.fromkeys(map(tuple, genomes.tolist()))][:count]
    if len(networks) < count:
        raise InputError(
            f"finding.random: expected at most the {len(networks)} networks that were found above the floor"
        )
    return networks


def _check_reference(reference: Architecture, costs: CostTable, search: SearchConfig) -> None:
    multiply_adds, _ = costs.count_one(reference.choices)
    if multiply_adds > cast(float, search.budget):
        raise InputError(
            f"finding.reference: expected at most search.upper_bounds.multiply_adds, {search.budget:g},"
            f" got {multiply_adds:,}"
        )


class _Timed:
    """An evaluator that also returns "cpu_seconds"; in a group of networks, the first has them all."""

    def __init__(self, evaluator: Evaluator):
        self.evaluator, self.begin_generation = evaluator, evaluator.begin_generation

    def evaluate(self, choices: Sequence[int]) -> dict:
        began = time.process_time()
        figures = self.evaluator.evaluate(choices)
        return {**figures, "cpu_seconds": time.process_time() - began}
