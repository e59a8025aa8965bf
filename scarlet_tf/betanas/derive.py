"""derive: from trained importances to the networks that go on, written as any search's result."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import as_settings
from scarlet_tf.betanas.importances import softmax
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.search.config import SearchConfig, evaluator_grouping, evaluator_options, side_of
from scarlet_tf.search.front import Candidate, HypervolumeBox, Picks, front_of
from scarlet_tf.search.objectives import CostModel, Objectives, cost_model_and_objectives
from scarlet_tf.search.program import PathProgram
from scarlet_tf.search.run import SearchResult, front_head, write_front
from scarlet_tf.space.cost import cost_table
from scarlet_tf.space.metric_table import MetricTable
from scarlet_tf.space.search_space import Architecture

logger = logging.getLogger("scarlet_tf")
Decide = Callable[[MetricTable | None], SearchResult]


def derive(
    supernet,
    importances: Mapping,
    validation_data,
    config: SearchConfig | Mapping | None = None,
    run_dir=".",
    recalibration_data=None,
    evaluator=None,
    input_size: int | None = None,
    num_classes: int | None = None,
    finish: Callable[[SearchResult, Decide], SearchResult] | None = None,
) -> SearchResult:
    """The most important choice of each layer, as a SearchResult that is also written to `run_dir`/pareto.json.

    Where that network does not keep the bounds of `config`, it is the most probable one among the remaining choices that
    does (the greatest sum of log softmax(alpha)). `config.picks` by name give the most probable one within each name's bounds as
    well, or the architecture named; a number of picks is one pick, "0". Each is scored on `validation_data` with BN
    recalibrated on `recalibration_data`, which takes no part in the choice.

    Args:
        supernet: trained by `train_betanas`.
        importances: what that returned under this key.
        evaluator: stands in for the default Evaluator.
        input_size, num_classes: what costs are counted at; the supernet's own by default.
        finish: `finish(result, decide)` makes of the result what is written and returned; `decide(table)` returns the result
            with another table's predictions.

    Raises InputError where no network of the remaining choices keeps the bounds.
    """
    config = as_settings(SearchConfig, config)
    costs = cost_table(supernet.space, input_size or side_of(supernet), num_classes or supernet.num_classes)
    if evaluator is None:
        options = {**evaluator_options(config), **evaluator_grouping(config)}
        evaluator = Evaluator(supernet, validation_data, recalibration_data, **options)
    cost_model, objectives = cost_model_and_objectives(costs, **config.objective_settings(costs))

    def decide(table: MetricTable | None) -> SearchResult:
        return _decide(importances, CostModel(costs, table), objectives, config.picks, evaluator)

    result = decide(cost_model.table)
    result = result if finish is None else finish(result, decide)
    search = {"algorithm": "betanas", "objectives": objectives.get_config(), "table": cost_model.fingerprint}
    return write_front(
        run_dir, result, front_head(costs, {**search, "betanas": dataclasses.asdict(config.betanas)}, {})
    )


def _decide(
    importances: Mapping, cost_model: CostModel, objectives: Objectives, picks: Picks, evaluator
) -> SearchResult:
    networks = _networks(importances, cost_model, objectives, picks)
    candidates = _evaluated(dict.fromkeys(networks.values()), evaluator, cost_model)
    front = front_of([c for c in candidates.values() if objectives.violation(c.metrics) <= 0], objectives)
    return SearchResult(
        pareto=front,
        picks=[candidates[network] for network in networks.values()],
        names=list(networks),
        hypervolume=[HypervolumeBox(cost_model, objectives).measure(objectives.values([c.metrics for c in front]))],
        evaluations=len(candidates),
        evaluated=list(candidates.values()),
    )


def _networks(
    importances: Mapping, cost_model: CostModel, objectives: Objectives, picks: Picks
) -> dict[str, Architecture]:
    """{name of a pick: network}."""
    space, alpha = cost_model.costs.space, np.array(importances["alpha"], float)
    remaining = np.array(importances["dropped_at"]) < 0
    with np.errstate(divide="ignore"):
        scores = np.log(softmax(alpha, remaining))
    program = PathProgram(cost_model)
    wanted = picks if isinstance(picks, Mapping) else {"0": {}}
    found = {}
    for name, bounds in wanted.items():
        if isinstance(bounds, str):
            found[name] = Architecture.parse(bounds, space)
            continue
        network = program.find(scores, remaining, objectives.tightened(bounds))
        if network is None:
            logger.warning("search.picks.%s: no network of the remaining choices is within its bounds", name)
        else:
            found[name] = Architecture(network, space)
    if not found:
        raise InputError(
            f"search: no network of the {remaining.sum()} choices that remain keeps {', '.join(objectives.bounds_in_words())}"
            f" and the bounds of search.picks; {cost_model.reach(cost_model.names)}"
        )
    return found


def _evaluated(networks, evaluator, cost_model: CostModel) -> dict[Architecture, Candidate]:
    evaluator.begin_generation(list(networks))
    found = {}
    for network in networks:
        metrics = {**evaluator.evaluate(network), **cost_model.of_one(network.choices)}
        found[network] = Candidate.of(network, metrics, cost_model.names)
    return found
