"""Simulation of a search with 1 to 256 workers, some of which die: how much of their time is work.

    python tools/simulate_workers.py
    python tools/simulate_workers.py --population 280 --deaths-per-hour 2

Engine, oracle, groups and journal are the real ones, and workers ask and reply as KerasTuner's do; time, processes and
evaluations are simulated. An event queue moves the clock, so that nothing sleeps. A group takes `--group-seconds`, and
`--giga-seconds` for each billion multiply-adds of each image along its prefix tree; to report a network then takes the
worker `--worker-trial-seconds`, and the chief, which does one thing after another, `--chief-trial-seconds`. The defaults were
measured by bench_workers.py, with one thread of a CPU (docs/results.md). Accuracies are made up: a sum over the choices.

A worker or the chief dies once in 1 / `--deaths-per-hour` hours on average and is back after `--restart-seconds`. Of the
workers' deaths, a share `--frozen` are none: the worker stands still, until its group was given to others and for as long again.
search.stale_trial_minutes, after which that is done, is twice what a worker takes for its largest group.

`efficiency`: the time that one process takes, which measures each generation along one tree, over workers times their time;
without deaths and with them. `equal`: True if the front and all results in every journal are those of the one process.
`hypervolume`: of the population's first front at the end. Prints a table, and one JSON object on the last line.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import itertools
import json
import logging
import math
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from fair_paths import NUM_CLASSES, space_named
from measuring import parse, report
from scarlet_tf.evaluation.prefix_tree import layer_costs, prefix_tree
from scarlet_tf.search import journal
from scarlet_tf.search.config import SearchConfig
from scarlet_tf.search.groups import SHARE, Grouping
from scarlet_tf.search.oracle import ArchitectureOracle
from scarlet_tf.search.run import new_algorithm
from scarlet_tf.search.trials import TrialMaker, group_of
from scarlet_tf.search.tuner import LONGEST_PAUSE
from scarlet_tf.space.cost import cost_table

IDLE_SECONDS = 30.0  # after which an idle worker asks in any case, since the group of one that froze may be free
# As measured by bench_workers.py (docs/results.md), one thread of a CPU.
GROUP_SECONDS, GIGA_SECONDS = 0.3, 0.045
WORKER_TRIAL_SECONDS, CHIEF_TRIAL_SECONDS = 0.005, 0.004


def main() -> None:
    """Simulate every number of workers, without and with deaths."""
    arguments = parse(
        __doc__,
        space="s1",
        pixels=224,
        population=70,
        generations=12,
        workers=[1, 2, 4, 8, 16, 32, 64, 128, 256],
        images=(7560, "that a network is recalibrated with and scored on"),
        group_seconds=GROUP_SECONDS,
        giga_seconds=GIGA_SECONDS,
        worker_trial_seconds=WORKER_TRIAL_SECONDS,
        chief_trial_seconds=CHIEF_TRIAL_SECONDS,
        deaths_per_hour=0.1,
        frozen=0.2,
        restart_seconds=60.0,
        ahead=(0, "search.ahead"),
        seed=0,
    )
    logging.getLogger("scarlet_tf").setLevel(logging.ERROR)  # what is taken back from workers
    problem = Problem(arguments)
    alone = problem.simulate(0, 0)
    rows, equal = [], True
    print(f"one process: {alone.seconds:8.0f} s for {len(alone.results)} networks", flush=True)
    for workers in arguments.workers:
        row = {"workers": workers}
        for name, rate in (("", 0.0), ("_with_deaths", arguments.deaths_per_hour)):
            found = problem.simulate(workers, rate)
            row |= {f"seconds{name}": found.seconds, f"efficiency{name}": alone.seconds / (workers * found.seconds)}
            equal &= (found.results, found.front) == (alone.results, alone.front)
        rows.append({**row, "deaths": found.deaths})
        print(
            f"{workers:4d} workers: {row['seconds']:8.0f} s, efficiency {row['efficiency']:.2f};"
            f" with {found.deaths} deaths {row['seconds_with_deaths']:8.0f} s, {row['efficiency_with_deaths']:.2f}",
            flush=True,
        )
    report(
        "simulated workers",
        **vars(arguments) | {"workers": rows},
        alone_seconds=alone.seconds,
        hypervolume=alone.hypervolume,
        equal=equal,
    )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A search: its simulated seconds, all results by trial, its front and hypervolume, and how often something died or froze."""

    seconds: float
    results: dict
    front: list
    hypervolume: float
    deaths: int


class Problem:
    """A search and the durations of its evaluations."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.space = space_named(arguments.space)
        self.config = SearchConfig(
            population_size=arguments.population,
            generations=arguments.generations,
            seed=arguments.seed,
            ahead=arguments.ahead,
        )
        self.costs = cost_table(self.space, arguments.pixels, NUM_CLASSES)
        self.make = TrialMaker(self.space)
        self._layers = layer_costs(self.space, arguments.pixels, NUM_CLASSES)
        rng = np.random.default_rng(arguments.seed)
        self._worth = rng.normal(size=(self.space.num_layers, self.space.num_choices))

    def oracle(self, folder: str, stale_seconds: float) -> ArchitectureOracle:
        """A chief's oracle, which knows what the folder's journal has."""
        algorithm = new_algorithm(self.config, self.costs)
        oracle = ArchitectureOracle(algorithm, self.config.seed, stale_trial_seconds=stale_seconds)
        oracle._set_project_dir(folder, "search")  # as every tuner of KerasTuner's does
        oracle.grouping = Grouping(self.costs)
        oracle.reload()
        return oracle

    def accuracy(self, choices) -> float:
        """A made-up one of an architecture, from 0 to 1."""
        worth = self._worth[np.arange(self.space.num_layers), choices].sum()
        return float(1 / (1 + np.exp(-worth / 8)))

    def seconds(self, architectures) -> float:
        """Duration of one group in one process."""
        tree = sum(self._layers[node.depth, node.choice] for node in prefix_tree(architectures).walk())
        return self.arguments.group_seconds + self.arguments.giga_seconds * self.arguments.images * tree / 1e9

    def stale_seconds(self, workers: int) -> float:
        """Twice what a worker takes for the largest group: two thirds of its share of the first generation, and a network."""
        first = sorted(map(tuple, new_algorithm(self.config, self.costs).ask().tolist()))
        return 2 * (self.seconds(first) / SHARE / workers + max(self.seconds([path]) for path in first))

    def simulate(self, workers: int, deaths_per_hour: float) -> Outcome:
        """A whole search by so many workers; 0: by one process."""
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(journal, "SECONDS_BETWEEN_SYNCS", math.inf):
            cluster = Cluster(self, folder, workers, deaths_per_hour)
            seconds = cluster.run() if workers else cluster.run_alone()
            lines = (pathlib.Path(folder) / "search" / journal.TRIALS).read_text().splitlines()[1:]
            rows = [json.loads(line) for line in lines]
            assert len({row["trial"] for row in rows}) == len(rows), "a trial is in the journal twice"
            results = {row["trial"]: (row["architecture"], row["status"], row["metrics"]) for row in rows}
            front = [candidate.to_dict() for candidate in cluster.oracle.pareto_front()]
            return Outcome(seconds, results, front, cluster.oracle.hypervolume[-1], cluster.deaths)


class Cluster:
    """A chief, its workers, and the events to come.

    A worker's requests wait for a chief that is away, as workers do.
    """

    def __init__(self, problem: Problem, folder: str, workers: int, deaths_per_hour: float):
        self.problem, self.arguments = problem, problem.arguments
        self._stale = problem.stale_seconds(max(workers, 1))
        self.oracle = problem.oracle(folder, self._stale)
        self.now, self.deaths = 0.0, 0
        self._folder, self._rate = folder, deaths_per_hour / 3600
        self._workers = [f"worker-{i}" for i in range(workers)]
        self._rng = np.random.default_rng([self.arguments.seed, workers])
        self._events: list[tuple[float, int, str, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._lives = dict.fromkeys(["chief", *self._workers], 0)  # events of earlier ones are void
        self._away = dict.fromkeys(self._lives, 0.0)  # until when
        self._idle: dict[str, int] = {}
        self._served = 0.0  # when the chief has done what it was asked so far
        self._leads, self._over = True, False

    def run_alone(self) -> float:
        """Search in one process; return its seconds."""
        self.oracle.grouping, told = None, -1
        measured: set[tuple[int, ...]] = set()
        while (trial := self.oracle.create_trial("alone")).status == "RUNNING":
            if told != len(self.oracle.hypervolume):
                told = len(self.oracle.hypervolume)
                group = [
                    architecture for architecture in self.oracle.open_architectures() if architecture not in measured
                ]
                measured.update(group)
                self.now += self.problem.seconds(group)
            self._end(trial)
        return self.now

    def run(self) -> float:
        """Search with workers; return the time at which the last result is in the journal."""
        with mock.patch.object(time, "monotonic", lambda: self.now):
            self._live("chief")
            for worker in self._workers:
                self._live(worker)
                self._after(0.0, worker, self._ask, worker)
            while not self._over:
                self.now, _, who, life, action = heapq.heappop(self._events)
                if life == self._lives[who]:
                    action()
        return self.now

    def _after(self, seconds: float, who: str, action: Callable, *arguments) -> None:
        """Have a process do something, which is void if that dies before. A worker's events are requests of the chief's."""
        if who != "chief" and action != self._die:
            action, arguments = self._reach, (who, functools.partial(action, *arguments))
        event = functools.partial(action, *arguments)
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), who, self._lives[who], event))

    def _reach(self, worker: str, action: Callable) -> None:
        back = max(self._away[worker], self._away["chief"])
        if self.now < back or not self._leads:
            self._after(max(back - self.now, 0.0), worker, action)
        else:
            action()

    def _request(self) -> float:
        """Seconds until the chief has answered what it is asked now."""
        self._served = max(self._served, self.now) + self.arguments.chief_trial_seconds
        return self._served - self.now

    def _ask(self, worker: str) -> None:
        trial = self.oracle.create_trial(worker)
        if trial.status == "RUNNING":
            group = group_of(trial)
            seconds = self._request() + self.problem.seconds([self.problem.make.choices(other) for other in group])
            self._after(seconds, worker, self._report, worker, group)
            if self.oracle.engine.queue:
                self._wake()
        elif trial.status == "IDLE":
            self._idle[worker] = next(self._numbers)
            self._after(IDLE_SECONDS, worker, self._ask_again, worker, self._idle[worker])

    def _wake(self) -> None:
        """Idle workers ask at most LONGEST_PAUSE later; that they ask in between, too, is left out."""
        for worker, number in self._idle.items():
            self._after(self._rng.uniform(0, LONGEST_PAUSE), worker, self._ask_again, worker, number)

    def _ask_again(self, worker: str, number: int) -> None:
        if self._idle.get(worker) == number:
            del self._idle[worker]
            self._ask(worker)

    def _report(self, worker: str, group: list) -> None:
        """One trial of a measured group after another."""
        trial, *others = group
        self._end(trial)
        self._over = self.oracle.remaining_trials() <= 0 and self.oracle.is_over()
        seconds = self._request() + self.arguments.worker_trial_seconds
        self._after(seconds, worker, *((self._report, worker, others) if others else (self._ask, worker)))

    def _end(self, trial) -> None:
        self.oracle.update_trial(trial.trial_id, {"accuracy": self.problem.accuracy(self.problem.make.choices(trial))})
        trial.status = "COMPLETED"
        self.oracle.end_trial(trial)

    # -- deaths ---------------------------------------------------------------------------------------------

    def _live(self, who: str) -> None:
        if self._rate:
            self._after(self._rng.exponential(1 / self._rate), who, self._die, who)

    def _die(self, who: str) -> None:
        if self.now >= self._away[who]:
            self.deaths += 1
            if who != "chief" and self._rng.random() < self.arguments.frozen:
                self._away[who] = self.now + 2 * self._stale
            else:
                self._end_life(who)
        self._live(who)

    def _end_life(self, who: str) -> None:
        self._lives[who] += 1
        self._idle.pop(who, None)
        self._away[who] = self.now + self.arguments.restart_seconds
        if who == "chief":
            left = self.oracle.engine.journal
            assert left is not None  # open since the chief began
            left.close()  # and nothing else of it is kept
            self._leads = False
            self._after(self.arguments.restart_seconds, who, self._lead)
        else:
            self._after(self.arguments.restart_seconds, who, self._ask, who)

    def _lead(self) -> None:
        """A new chief reads the journal."""
        self.oracle, self._leads = self.problem.oracle(self._folder, self._stale), True


if __name__ == "__main__":
    main()
