"""Hierarchical mutation: its cost beside evaluation, and its results on made-up problems.

    python tools/bench_mutation.py                  time, on digits and of a controller for S2
    python tools/bench_mutation.py --seeds 8        and the variants of the controller, on 8 made-up problems

Time: generations of configs/digits.yaml, asked for, evaluated on an untrained supernet (which takes as long as a trained
one) and told. `share` is the time of ask and tell over that of the generations, `share_later` that of the generations after
the controller's first update. `ms_per_child` and `ms_per_update`
(32 children) are medians for a controller of S2 that draws `genes` genes, beside the same for all genes.

Made-up problems: networks of S2, whose accuracy is a logistic function of random terms, one a layer and one a pair of
neighbours, and of multiply-adds; 20 individuals, 40 generations. Mean and deviation over the problems of the hypervolume
of all networks evaluated, and the outcome of the controller's children. Prints one JSON object.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from measuring import command_line, report, timed
from scarlet_tf.base.progress import progress_bar
from scarlet_tf.config import load_config
from scarlet_tf.data.datasets import load_dataset
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.search.config import MutationConfig, PPOConfig
from scarlet_tf.search.controller import ControllerMutation
from scarlet_tf.search.front import HypervolumeBox, non_dominated
from scarlet_tf.search.mutation import HierarchicalMutation
from scarlet_tf.search.nsga2 import WeightedNSGA2
from scarlet_tf.search.objectives import cost_model_and_objectives
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.space.search_space import SearchSpace
from scarlet_tf.training.supernet import new_supernet

DIGITS = pathlib.Path(__file__).parents[1] / "configs" / "digits.yaml"
S2 = SearchSpace.from_name("s2")
BUDGET = 450e6
VARIANTS: dict[str, dict] = {
    "uniform": {"kind": "uniform"},
    "no controller": {"controller": 0.0},
    "all genes": {"ppo": {"genes": None}},
    **{f"{genes} genes": {"ppo": {"genes": genes}} for genes in (1, 2, 4)},
}


def main() -> None:
    """Measure the search on digits and a controller for S2; with seeds, solve made-up problems."""
    parser = command_line(
        __doc__,
        generations=(6, "of the search on digits"),
        children=(300, "sampled, of which the median counts"),
        seeds=(0, "made-up problems"),
    )
    arguments = parser.parse_args()
    if arguments.generations < 4:
        parser.error("--generations: expected at least 4, for one after the first update")
    figures = {**on_digits(arguments.generations), **for_s2(arguments.children)}
    if arguments.seeds:
        figures["made_up"] = made_up(arguments.seeds)
    report("mutation", **figures)


def on_digits(generations: int) -> dict:
    """Seconds of ask and tell, and of evaluation, in a search of the recipe's size."""
    config = load_config(DIGITS)
    data, settings = load_dataset(config.data), config.search
    size = config.data.image_size
    supernet = new_supernet(config.supernet, config.space, (size, size, 3), data.num_classes)
    options = {"recalibration_batches": settings.recalibration_batches, "batch_size": settings.validation_batch_size}
    evaluator = Evaluator(supernet, data.validation, recalibration_data=data.train, **options)
    evaluator.evaluate((0,) * config.space.num_layers)  # traces
    costs = cost_table(config.space, size, data.num_classes)
    mutation = settings.mutation.build(config.space, seed=0)
    search = WeightedNSGA2(
        costs, settings.population_size, generations, max_multiply_adds=settings.budget, mutation=mutation
    )
    algorithm, evaluation = [], []
    with progress_bar("digits", search.total_evaluations) as bar:
        while not search.finished:
            started = time.perf_counter()
            genomes = search.ask()
            asked = time.perf_counter()
            evaluator.begin_generation(sorted(map(tuple, genomes.tolist())))  # as a search does
            results = [evaluator.evaluate(genome) for genome in genomes.tolist()]
            evaluated = time.perf_counter()
            search.tell(results)
            algorithm.append(asked - started + time.perf_counter() - evaluated)
            evaluation.append(evaluated - asked)
            bar.advance(len(genomes))
    # The first tell is that of P0 and Q0, which the controller did not make.
    later = sum(algorithm[2:]) / sum(algorithm[2:] + evaluation[2:])
    return {
        "share": round(sum(algorithm) / sum(algorithm + evaluation), 4),
        "share_later": round(later, 4),
        "ask_and_tell_seconds": [round(seconds, 4) for seconds in algorithm],
        "evaluation_seconds": [round(seconds, 3) for seconds in evaluation],
    }


def for_s2(children: int) -> dict:
    """Milliseconds a child and an update."""
    rng = np.random.default_rng(0)
    found = {}
    for suffix, config in (("", PPOConfig()), ("_all_genes", PPOConfig(genes=None))):
        controller = ControllerMutation(S2, config)
        genomes = rng.integers(S2.num_choices, size=(children, S2.num_layers))
        times = [timed(controller.mutate, genome, rng, None) for genome in genomes]
        found[f"ms_per_child{suffix}"] = round(1e3 * statistics.median(times), 3)
    controller = ControllerMutation(S2)
    genomes, actions = rng.integers(S2.num_choices, size=(2, 32, S2.num_layers))
    update = (genomes, actions, rng.random(genomes.shape) < 0.5, rng.normal(size=32))
    found["ms_per_update"] = round(1e3 * statistics.median(timed(controller.update, *update) for _ in range(20)), 1)
    return found


def made_up(seeds: int) -> dict:
    """Results of each variant: hypervolumes, and the shares of the controller's children that were new and that survived."""
    table = CostTable(S2, 224, 1000)
    rows: dict[str, list] = {name: [] for name in VARIANTS}
    with progress_bar("made-up problems", seeds * len(VARIANTS)) as bar:
        for seed in range(seeds):
            for name, settings in VARIANTS.items():
                rows[name].append(solved(table, MutationConfig(**settings), seed))
                bar.advance()
    return {name: summary(found) for name, found in rows.items()}


def solved(table: CostTable, config: MutationConfig, seed: int) -> tuple[float, dict]:
    """The hypervolume of all networks evaluated, and the operators' statistics."""
    accuracy, mutation = problem(table, seed), config.build(S2, seed)
    search = WeightedNSGA2(table, 20, 40, max_multiply_adds=BUDGET, mutation=mutation, seed=seed)
    seen = []
    while not search.finished:
        genomes = search.ask()
        accuracies, (multiply_adds, params) = accuracy(genomes), table.count(genomes)
        seen.append(np.column_stack([-accuracies, multiply_adds, -params]))
        search.tell([{"accuracy": float(value)} for value in accuracies])
    objectives = np.concatenate(seen)
    hypervolume = HypervolumeBox(*cost_model_and_objectives(table, BUDGET, None)).measure(
        objectives[non_dominated(objectives)]
    )
    return hypervolume, mutation.statistics() if isinstance(mutation, HierarchicalMutation) else {}


def problem(table: CostTable, seed: int):
    """Accuracies [N] of genomes [N, num_layers]."""
    rng = np.random.default_rng(1000 + seed)
    layers, choices = np.arange(S2.num_layers), S2.num_choices
    single = rng.normal(size=(len(layers), choices))
    pairs = rng.normal(0, 0.5, size=(len(layers) - 1, choices, choices))
    low, high = table.bounds["multiply_adds"]

    def accuracy(genomes):
        terms = single[layers, genomes].sum(1) + pairs[layers[:-1], genomes[:, :-1], genomes[:, 1:]].sum(1)
        size = (table.count(genomes)[0] - low) / (high - low)
        return 1 / (1 + np.exp(1 - (terms / np.sqrt(1.25 * len(layers)) + 2 * size) / 1.5))

    return accuracy


def summary(found: list[tuple[float, dict]]) -> dict:
    """Means over the problems."""
    hypervolumes = [hypervolume for hypervolume, _ in found]
    row: dict = {"hypervolume": [round(f(hypervolumes), 4) for f in (statistics.mean, statistics.pstdev)]}
    for name in ("random", "controller"):
        tallies = [operators[name] for _, operators in found if name in operators]
        if tallies:
            counts = ("children", "evaluated", "survived")
            made, evaluated, survived = (sum(tally[key] for tally in tallies) for key in counts)
            row[name] = {"evaluated": round(evaluated / made, 3), "survived": round(survived / evaluated, 3)}
    return row


if __name__ == "__main__":
    main()
