"""Studies of BetaNAS.

importances: alpha and training of a layer's choices over time, balanced and gradient-driven (BetaNAS, figure 5). finding:
networks found by BetaNAS and by SCARLET's search beside random ones and MobileNetV2's own, trained alike.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
from scipy.stats import spearmanr

from scarlet_tf.assessment.comparison import kept_search
from scarlet_tf.assessment.statistics import kendall
from scarlet_tf.assessment.store import Store, digest, name_of
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import write_json
from scarlet_tf.betanas.derive import derive
from scarlet_tf.betanas.importances import Phases
from scarlet_tf.betanas.training import train_betanas
from scarlet_tf.data.splits import Split
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.evaluation.scoring import evaluate
from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.config import SearchConfig, evaluator_options
from scarlet_tf.search.journal import EvaluationTable
from scarlet_tf.search.run import new_algorithm
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.config import RetrainConfig, SupernetConfig
from scarlet_tf.training.supernet import new_supernet
from studies import plots
from studies.supernets import passes
from studies.workshop import CPU_FILE, CpuClock, Workshop, over_seeds

logger = logging.getLogger("scarlet_tf")
_OF_A_TRAINING = [
    "most_trained_share",
    "early_most_trained_share",
    "entropy",
    "early_leader_wins",
    "rank_correlation",
    "winner_most_trained",
    "dropped",
    "one_shot",
    "multiply_adds",
]
_COSTS = ["weight_passes", "gate_passes", "evaluations", "supernet_cpu_seconds", "search_cpu_seconds"]
_OF_A_NETWORK = ["multiply_adds", "params", "one_shot", "validation", "test"]


@dataclasses.dataclass(frozen=True)
class Found:
    """Result of a training.

    history: a row an epoch with alpha, trained and dropped_at [num_layers][num_choices]; phases: of its steps; network: the
    derived one, with its one-shot accuracy; cpu_seconds: of the training, None where they are not known.
    """

    history: list[dict]
    phases: Phases
    network: dict
    cpu_seconds: float | None


def find(shop: Workshop, config: SupernetConfig, search: SearchConfig) -> Found:
    """Train by BetaNAS, or resume, or read the cached result, and derive the network."""
    objectives = search.objectives().get_config()
    # Everything that a training's weights and importances depend on.
    context = {**shop.context(config), "betanas": dataclasses.asdict(search.betanas), "objectives": objectives}
    folder = shop.cache / f"betanas-{digest(context)}"
    if not (folder / "settings.json").exists():
        write_json(folder / "settings.json", context)
    supernet = new_supernet(config, shop.study.space, shop.input_shape, shop.data.num_classes)
    clock = CpuClock(folder / CPU_FILE)
    trained = train_betanas(
        supernet, shop.data.train, shop.data.validation, config, search, run_dir=folder, callbacks=(clock,)
    )
    store = Store(shop.cache, "derived", {**context, **evaluator_options(search)})

    def network() -> dict:
        data = shop.data
        found = derive(
            supernet, trained["importances"], data.validation, search, store.folder, recalibration_data=data.train
        )
        return found.picks[0].to_dict()

    phases = Phases(trained["steps"], search.betanas)
    return Found(trained["history"], phases, store.get("network", network), clock.cpu_seconds(trained["steps"]))


def importances(shop: Workshop) -> dict:
    """The table: a row for each variant and seed, then means over seeds."""
    study, settings, search = shop.study, shop.study.sections["importances"], shop.study.sections["search"]
    labels = [choice.label for choice in study.space.choices]
    rows, histories = [], []
    for seed in study.seeds:
        config = dataclasses.replace(study.supernets["betanas"], seed=seed)
        for name in settings.variants:
            logger.info("%s: %s, seed %d", study.name, name, seed)
            found = find(shop, config, settings.variant(name, search))
            gc.collect()  # the graphs of a supernet no longer needed refer to each other
            one_shot = {**found.network, "one_shot": found.network["accuracy"]}
            kept = {key: one_shot[key] for key in ("architecture", "one_shot", "multiply_adds", "params")}
            figures = describe(found.history, found.phases, settings.early)
            rows.append({"variant": name, "seed": seed, **figures, **kept, "cpu_seconds": found.cpu_seconds})
            histories.append({"variant": name, "seed": seed, "history": found.history})
            summary, total = over_seeds(rows, ["variant"], _OF_A_TRAINING), len(study.seeds) * len(settings.variants)
            table = shop.save(rows, summary, total, choices=labels, histories=histories)
            plots.importances_of_a_layer(shop.folder / "layer.png", histories, settings.layer, labels)
            plots.importances(shop.folder / "summary.png", rows)
    return table


def describe(history: Sequence[Mapping], phases: Phases, early: float) -> dict:
    """Course of a training, from its epochs' rows.

    Epochs count from the first that ends after the warm-up; `early` is the share of these before the early look.
    Means over layers: most_trained_share, the share of a layer's weight steps that its most trained choice had,
    and early_most_trained_share, the same up to the early look; entropy, of the shares, 1 where all are equal;
    rank_correlation, Spearman's, between the choices' standings then and at the end. Shares of the layers:
    early_leader_wins, whose leader then is the winner; winner_most_trained, whose winner was trained most. dropped: choices.
    """
    alpha, trained, dropped = (np.array([row[key] for row in history]) for key in ("alpha", "trained", "dropped_at"))
    warm = math.ceil(phases.warmup_steps * len(history) / phases.total_steps)
    look = min(warm + max(1, round(early * (len(history) - warm))), len(history)) - 1
    before = trained[warm - 1] if warm else np.zeros_like(trained[0])
    shares, first = (_shares(trained[end] - before) for end in (-1, look))
    then, last = (standing(alpha[end], dropped[end]) for end in (look, -1))
    winner = last.argmax(axis=1)
    return {
        "most_trained_share": float(shares.max(axis=1).mean()),
        "early_most_trained_share": float(first.max(axis=1).mean()),
        "entropy": float(entropy(shares).mean()),
        "early_leader_wins": float((then.argmax(axis=1) == winner).mean()),
        "rank_correlation": float(np.mean([spearmanr(*pair).statistic for pair in zip(then, last, strict=True)])),
        "winner_most_trained": float((shares.argmax(axis=1) == winner).mean()),
        "dropped": int((dropped[-1] >= 0).sum()),
    }


def standing(alpha: np.ndarray, dropped_at: np.ndarray) -> np.ndarray:
    """Ranks of each layer's choices, 0 the lowest: the dropped ones in the order of dropping, then the others by alpha."""
    gone_at = np.where(dropped_at < 0, np.inf, dropped_at)
    order = np.lexsort((alpha, gone_at), axis=-1)
    return order.argsort(axis=-1)


def entropy(shares: np.ndarray) -> np.ndarray:
    """Entropy of each row [num_layers, num_choices] that sums to 1, divided by that of equal shares."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(axis=1) / np.log(shares.shape[1])


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True)


def finding(shop: Workshop) -> dict:
    """The table: a row for each network and seed, then means over seeds."""
    study, settings = shop.study, shop.study.sections["finding"]
    if settings.test_images > shop.data.test.num_examples:
        there, got = shop.data.test.num_examples, settings.test_images
        raise InputError(f"finding.test_images: expected at most {there}, got {got}")
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
            summary = over_seeds(by_method(rows), ["method"], [*_OF_A_NETWORK, *_COSTS])
            total = len(study.seeds) * (3 + settings.random)
            table = shop.save(rows, summary, total, order=one_shot_order(rows))
            plots.found(shop.folder / "finding.png", rows, study.sections["search"].budget)
    return table


def trained_alone(shop: Workshop, architecture: Architecture, settings: RetrainConfig, test: Split) -> dict:
    """{"validation", "test"}: accuracies of the network after its training, each once for all studies.

    `test` are images by which nothing is chosen, the same ones in every call.
    """
    settings = dataclasses.replace(settings, validate_every_epochs=settings.epochs + 1)  # it is measured at the end
    known = {key: value for key, value in dataclasses.asdict(settings).items() if key != "checkpoint_seconds"}
    known |= {"space": shop.study.space.fingerprint, "test_images": test.num_examples, **shop.data_context}

    def accuracies(model, figures: dict) -> dict:
        tested = evaluate(model, test.batches(settings.batch_size))
        return {"validation": figures["validation"]["accuracy"], "test": tested["accuracy"]}

    store = Store(shop.cache, "alone", known)
    return shop.retrained(architecture, settings, store, name_of(architecture), accuracies)


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
            means = {name: float(np.mean([row[name] for row in draws])) for name in _OF_A_NETWORK}
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
    _check(reference, costs, search)
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
    lowest = {**search.lower_bounds, "multiply_adds": floor * cast(float, search.budget)}
    drawn = dataclasses.replace(
        search, algorithm="random", population_size=max(2, count), seed=seed, lower_bounds=lowest
    )
    genomes = new_algorithm(drawn, costs).ask()
    networks = [Architecture(genome, costs.space) for genome in dict.fromkeys(map(tuple, genomes.tolist()))][:count]
    if len(networks) < count:
        raise InputError(
            f"finding.random: expected at most the {len(networks)} networks that were found above the floor"
        )
    return networks


def _check(reference: Architecture, costs: CostTable, search: SearchConfig) -> None:
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
