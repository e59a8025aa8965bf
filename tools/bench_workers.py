"""Benchmark of a search's workers: two of one thread each against one process of one thread.

    python tools/bench_workers.py

Space S1 with fresh weights, random images, and two generations of 70 different networks as in bench_evaluation.py: `random` is
drawn uniformly, `converging` are children of five parents. It is the same search in one process and with a chief and workers:
KerasTuner's service, the journal and the engine are the real ones, and an algorithm that learns nothing asks for the two
generations. Every process has compiled its functions before.

`*_seconds`: [one process, workers], from the end of the generation before to the end of this one, on the clock. `*_speedup`: the
one over the other, median over the rounds, in each of which all processes are new. That needs as many idle cores as workers.
`*_cpu_seconds`, `*_cpu_speedup`: the same of processor seconds, those of the chief and all workers divided by the workers: layers
that several groups compute and all messages count, waiting does not.
`group_seconds`, `giga_seconds`: least squares of what the trees of groups and of whole generations took, by group and by billion
multiply-adds of each image. `worker_trial_seconds`, `chief_trial_seconds`: what a network takes worker and chief besides. All
four are processor seconds; simulate_workers.py takes them.
`equal`: True if the journals of both have the same results for the same trials, bit by bit. Prints one JSON object.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from bench_evaluation import children, random_paths
from local_cluster import free_port, variables
from measuring import ROUNDS, parse, report, use_threads
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.evaluation.prefix_tree import multiply_adds
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.search.algorithm import Algorithm
from scarlet_tf.search.oracle import ArchitectureOracle
from scarlet_tf.search.tuner import SupernetTuner
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.search_space import SearchSpace

NUM_CLASSES = 1000
KINDS = ("random", "converging")


def main() -> None:
    """Measure all rounds."""
    arguments = parse(
        __doc__,
        space="s1",
        pixels=64,
        population=70,
        batch_size=64,
        recalibration_batches=2,
        validation_batches=2,
        workers=2,
        rounds=(1, ROUNDS),
        seed=0,
    )
    rounds = [[run(arguments, workers) for workers in (0, arguments.workers)] for _ in range(arguments.rounds)]
    found: dict = {}
    for kind in KINDS:
        for clock in ("", "cpu_"):
            seconds = [[one[clock + kind], shared[clock + kind]] for one, shared in rounds]
            found[f"{kind}_{clock}speedup"] = statistics.median(one / shared for one, shared in seconds)
            found[f"{kind}_{clock}seconds"] = seconds
    images = arguments.batch_size * (arguments.recalibration_batches + arguments.validation_batches)
    trees = np.array([tree for shared_or_not in rounds for one in shared_or_not for tree in one["trees"]])
    parts, *_ = np.linalg.lstsq(
        np.column_stack([np.ones(len(trees)), images * trees[:, 0] / 1e9]), trees[:, 1], rcond=None
    )
    found |= zip(("group_seconds", "giga_seconds"), parts.tolist(), strict=True)
    for role in ("worker", "chief"):
        found[f"{role}_trial_seconds"] = statistics.median(shared[role] for _, shared in rounds)
    equal = all(one["results"] == shared["results"] for one, shared in rounds)
    report("workers", **vars(arguments), **found, equal=equal)


def run(arguments, workers: int) -> dict:
    """Search in one process, without workers, or with a chief and workers, all of them new; seconds and results."""
    with tempfile.TemporaryDirectory() as folder:
        names = ["chief", *(f"worker-{i}" for i in range(workers))] if workers else []
        port = free_port()
        roles = [variables(name, port) for name in names] or [{}]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(len(roles), context, use_threads, (1,)) as pool:
            members = [pool.submit(member, arguments, folder, role, workers) for role in roles]
            first, *others = [future.result() for future in members]
    cpu = {f"cpu_{kind}": sum(m[f"cpu_{kind}"] for m in (first, *others)) / max(workers, 1) for kind in KINDS}
    trees = [tree for one in (first, *others) for tree in one["trees"]]
    networks, measured = len(KINDS) * arguments.population, sum(seconds for _, seconds in trees)
    chief = sum(first[f"cpu_{kind}"] for kind in KINDS)
    worker = sum(one[f"cpu_{kind}"] for one in others for kind in KINDS) - measured
    return {**first, **cpu, "trees": trees, "chief": chief / networks, "worker": worker / networks}


def member(arguments, folder: str, role: Mapping[str, str], workers: int) -> dict:
    """Be one process of a search; return its seconds, and all results unless it is a worker."""
    name = next(iter(role.values()), "alone")
    space = SearchSpace.from_name(arguments.space)
    algorithm = Generations(space, arguments)
    evaluator = None if name == "chief" else warm_evaluator(arguments, space, algorithm.kinds)
    if evaluator and workers:
        meet(pathlib.Path(folder), name, workers)
    os.environ.update(role)  # of this process, which does nothing else
    SupernetTuner(ArchitectureOracle(algorithm), directory=folder, project_name="search", evaluator=evaluator).search()
    if evaluator and workers:
        return {**evaluator.cpu_seconds, "trees": evaluator.trees}
    lines = (pathlib.Path(folder) / "search" / "trials.jsonl").read_text().splitlines()[1:]
    results = {row["trial"]: (row["architecture"], row["metrics"]) for row in map(json.loads, lines)}
    return {**algorithm.seconds, "results": results, "trees": evaluator.trees if evaluator else []}


class Timed(Evaluator):
    """Adds up this process' processor seconds by the generation of the path that is evaluated at their end."""

    def __init__(self, kinds: Mapping[tuple, str], *arguments):
        super().__init__(*arguments)
        self.cpu_seconds = dict.fromkeys((f"cpu_{kind}" for kind in KINDS), 0.0)
        self.trees: list[tuple[int, float]] = []  # multiply-adds and processor seconds of each group
        self._kinds, self._since, self._tree = kinds, 0.0, (0, 0, 0.0)

    def begin_generation(self, architectures) -> None:
        super().begin_generation(architectures)
        space, (side, *_) = self.supernet.space, self.supernet.image_shape
        self._tree = len(architectures), multiply_adds(space, architectures, side, NUM_CLASSES)[1], time.process_time()

    def evaluate(self, choices) -> dict:
        found = super().evaluate(choices)
        now = time.process_time()
        (count, cost, begun), self._tree = self._tree, (0, 0, 0.0)
        # The first of a group that was measured whole.
        if count == self.num_ready + 1 and tuple(choices) in self._kinds:
            self.trees.append((cost, now - begun))
        if kind := self._kinds.get(tuple(choices)):
            self.cpu_seconds[f"cpu_{kind}"] += now - self._since
        self._since = now
        return found


def warm_evaluator(arguments, space: SearchSpace, kinds: Mapping[tuple, str]) -> Timed:
    """An evaluator that has run every choice of every layer once."""
    rng = np.random.default_rng(arguments.seed)
    shape = (arguments.pixels, arguments.pixels, 3)

    def labelled(batches: int) -> tuple:
        count = batches * arguments.batch_size
        return rng.normal(size=(count, *shape)).astype(np.float32), rng.integers(NUM_CLASSES, size=count)

    data, more = labelled(arguments.validation_batches), labelled(arguments.recalibration_batches)
    supernet = Supernet(space, shape, NUM_CLASSES, seed=arguments.seed)
    evaluator = Timed(kinds, supernet, data, more, arguments.recalibration_batches, arguments.batch_size)
    uniform = [(choice,) * space.num_layers for choice in range(space.num_choices)]
    evaluator.begin_generation(uniform)
    evaluator.evaluate(uniform[0])
    evaluator.forget()
    return evaluator


def meet(folder: pathlib.Path, name: str, workers: int) -> None:
    """Wait until all workers are here."""
    (folder / f"{name}.ready").touch()
    while len(list(folder.glob("*.ready"))) < workers:
        time.sleep(0.05)


class Generations(Algorithm):
    """Asks for one network, and then for the two generations; learns nothing, and notes what each of them took."""

    def __init__(self, space: SearchSpace, arguments):
        rng = np.random.default_rng(arguments.seed)
        drawn = [draw(space, arguments.population, rng) for draw in (random_paths, children)]
        self.kinds = {path: kind for kind, paths in zip(KINDS, drawn, strict=True) for path in paths}
        self._asks = [[(0,) * space.num_layers], *drawn]
        super().__init__(CostTable(space, arguments.pixels, NUM_CLASSES), sum(map(len, self._asks)), None, None)
        self.seconds: dict[str, float] = {}
        self._ended = (0.0, 0.0)

    def _draw(self) -> np.ndarray:
        return np.array(self._asks[self.generation])

    def _learn(self, genomes, metrics) -> float:
        before, self._ended = self._ended, (time.perf_counter(), time.process_time())
        if self.generation:
            kind = KINDS[self.generation - 1]
            spent = (after - start for start, after in zip(before, self._ended, strict=True))
            self.seconds |= zip((kind, f"cpu_{kind}"), spent, strict=True)
        return 0.0

    def get_config(self) -> dict:
        return {"algorithm": "generations"}


if __name__ == "__main__":
    main()
