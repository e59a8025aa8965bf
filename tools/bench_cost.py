"""Benchmark of counting architectures: seconds for one, and architectures a second in bulk.

    python tools/bench_cost.py

Prints one JSON object: seconds_one is the median time of counting a single S2 architecture with a ready table (the
paper reports below 1 ms), architectures_per_second the bulk rate over a population, table_seconds the making of the
table. S1's figures are beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from scarlet_tf.cost import CostTable
from scarlet_tf.space import SearchSpace


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", type=int, default=200_000, help="architectures counted in one call")
    parser.add_argument("--repeats", type=int, default=15, help="measurements of which the median counts")
    arguments = parser.parse_args()
    results = {name: measure(name, arguments.population, arguments.repeats) for name in ("s2", "s1")}
    print(json.dumps({"benchmark": "cost", "population": arguments.population, **results["s2"], "s1": results["s1"]}))


def measure(space_name: str, population: int, repeats: int) -> dict:
    """The figures of one space at 224 pixels and 1000 classes."""
    space = SearchSpace.from_name(space_name)
    started = time.perf_counter()
    table = CostTable(space, 224, 1000)
    table_seconds = time.perf_counter() - started
    choices = np.random.default_rng(0).integers(space.num_choices, size=(population, space.num_layers))
    singles = [tuple(row) for row in choices[:1000].tolist()]
    one, bulk = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        for architecture in singles:
            table.count_one(architecture)
        one.append((time.perf_counter() - started) / len(singles))
        started = time.perf_counter()
        table.count(choices)
        bulk.append(population / (time.perf_counter() - started))
    return {
        "seconds_one": statistics.median(one),
        "architectures_per_second": round(statistics.median(bulk)),
        "table_seconds": table_seconds,
    }


if __name__ == "__main__":
    main()
