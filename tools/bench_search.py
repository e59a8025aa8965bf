"""Measures what the oracle and the tuner cost beside evaluation: CPU time a trial, reloading, files on disk.

    python tools/bench_search.py

Two whole searches of S2, population 70 and 120 generations, with an evaluation that does nothing, in one process each: as
configured by default, whose mutation trains a controller, and with uniform mutation. Prints one JSON object with the
figures of the first and, under `uniform`, of the second. cpu_ms_per_trial_1000 and cpu_ms_per_trial_8400 are CPU time
(milliseconds, user and system) of the first 1,000 trials and of all, by trial, cpu_ms_per_trial_last_1000 of the last
1,000; imports are not in it, the tracing of the controller's training is. reload_seconds_8400 is how long a new process takes
to load the finished search and its front, without imports.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import types

from scarlet_tf import logs

logs.quiet_frameworks()

from scarlet_tf.cost import cost_table  # noqa: E402
from scarlet_tf.search.algorithms import new_algorithm  # noqa: E402
from scarlet_tf.search.mutation_config import MutationConfig  # noqa: E402
from scarlet_tf.search.oracle import ArchitectureOracle  # noqa: E402
from scarlet_tf.search.run import SearchConfig  # noqa: E402
from scarlet_tf.search.tuner import SupernetTuner  # noqa: E402
from scarlet_tf.space import SearchSpace  # noqa: E402

SUPERNET = types.SimpleNamespace(space=SearchSpace.from_name("s2"), image_shape=(224, 224, 3), num_classes=1000)
MARK = 1000  # trials


class Clock:
    """An evaluation that answers a function of the choices and notes the CPU time now and then.

    Not always, because asking for it takes as long as much of what is measured.
    """

    def __init__(self, marks=()):
        self.trials = 0
        self.times = dict.fromkeys(marks, 0.0)  # when so many trials had been made

    def evaluate(self, choices) -> dict:
        if self.trials in self.times:
            self.times[self.trials] = time.process_time()
        self.trials += 1
        return {"accuracy": sum((i + 1) * (gene * 7 % 13) for i, gene in enumerate(choices)) % 997 / 997}


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", type=int, default=70)
    parser.add_argument("--generations", type=int, default=120)
    parser.add_argument("--part", nargs=3, metavar=("MUTATION", "WHAT", "DIR"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        mutation, what, folder = arguments.part
        config = SearchConfig(
            population_size=arguments.population, generations=arguments.generations, mutation=MutationConfig(mutation)
        )
        print(json.dumps({"measure": measure, "reload": reload}[what](config, folder)))
        return
    results = {}
    for mutation in ("hierarchical", "uniform"):
        with tempfile.TemporaryDirectory() as folder:
            results[mutation] = {**in_process(mutation, "measure", folder), **in_process(mutation, "reload", folder)}
    print(json.dumps({"benchmark": "search", **results["hierarchical"], "uniform": results["uniform"]}))


def in_process(*part: str) -> dict:
    """One part's figures, measured in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--part", *part]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def measure(config: SearchConfig, folder: str) -> dict:
    """Runs the search and returns its figures."""
    total = config.population_size * config.generations
    # Repeats are no trials, so where the last 1,000 begin is known only at the end.
    clock = Clock(range(MARK, total, MARK // 20))
    started = time.process_time()
    tuner = new_tuner(config, folder, clock)
    tuner.search()
    ended = time.process_time()
    first, last = min(MARK, clock.trials), max((m for m in clock.times if m <= clock.trials - MARK), default=0)
    files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return {
        "cpu_ms_per_trial_1000": 1e3 * (clock.times.get(first, ended) - started) / first,
        "cpu_ms_per_trial_8400": 1e3 * (ended - started) / clock.trials,
        "cpu_ms_per_trial_last_1000": 1e3 * (ended - clock.times.get(last, started)) / (clock.trials - last),
        "trials": clock.trials,
        "evaluations": tuner.oracle.evaluations,
        "files": sorted(path.name for path in files),
        "bytes": sum(path.stat().st_size for path in files),
    }


def reload(config: SearchConfig, folder: str) -> dict:
    """How long it takes until a finished search of an earlier process is there, with its front."""
    clock = Clock()
    started = time.perf_counter()
    tuner = new_tuner(config, folder, clock)
    tuner.search()
    assert tuner.oracle.pareto_front() and not clock.trials
    return {"reload_seconds_8400": time.perf_counter() - started}


def new_tuner(config: SearchConfig, folder: str, clock: Clock) -> SupernetTuner:
    """The tuner, which loads what is in the folder."""
    costs = cost_table(SUPERNET.space, SUPERNET.image_shape[0], SUPERNET.num_classes)
    oracle = ArchitectureOracle(new_algorithm(config, costs), seed=config.seed)
    return SupernetTuner(oracle, SUPERNET, folder, "search", evaluator=clock)


if __name__ == "__main__":
    main()
