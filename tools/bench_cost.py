"""Benchmark of counting architectures: seconds for one, and architectures a second in bulk.

    python tools/bench_cost.py

Prints one JSON object: seconds_one is the median time of counting a single S2 architecture with a ready table (the
paper reports below 1 ms), architectures_per_second the bulk rate over a population, table_seconds the making of the
table. S1's figures are beside it.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from measuring import alternate, parse, report, timed
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.search_space import SearchSpace


def main() -> None:
    """Measure both spaces."""
    arguments = parse(
        __doc__,
        population=(200_000, "architectures counted in one call"),
        repeats=(15, "measurements of which the median counts"),
    )
    results = {name: measure(name, arguments.population, arguments.repeats) for name in ("s2", "s1")}
    report("cost", population=arguments.population, **results["s2"], s1=results["s1"])


def measure(space_name: str, population: int, repeats: int) -> dict:
    """The figures of one space at 224 pixels and 1000 classes."""
    space = SearchSpace.from_name(space_name)
    started = time.perf_counter()
    table = CostTable(space, 224, 1000)
    table_seconds = time.perf_counter() - started
    choices = np.random.default_rng(0).integers(space.num_choices, size=(population, space.num_layers))
    singles = [tuple(row) for row in choices[:1000].tolist()]
    turns = {
        "one": lambda: timed(lambda: [table.count_one(architecture) for architecture in singles]) / len(singles),
        "bulk": lambda: population / timed(table.count, choices),
    }
    found = {name: statistics.median(values) for name, values in alternate(turns, repeats).items()}
    rates = {"seconds_one": found["one"], "architectures_per_second": round(found["bulk"])}
    return {**rates, "table_seconds": table_seconds}


if __name__ == "__main__":
    main()
