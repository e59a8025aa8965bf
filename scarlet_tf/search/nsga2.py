"""Constrained and weighted NSGA-II behind ask and tell (SCARLET-NAS, supplement, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.crossover.pntx import SinglePointCrossover

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.metric_table import MetricTable
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.checks import check_settings
from scarlet_tf.search.front import HypervolumeBox
from scarlet_tf.search.genomes import decode, encode
from scarlet_tf.search.mutation import Mutation, MutationContext, UniformMutation
from scarlet_tf.search.objectives import figures_and_goals
from scarlet_tf.search.selection import WeightedSurvival, tournament

STATE_VERSION = 2
# Every bound is missed by less than 1, so a failed evaluation counts as worse than any model that was evaluated.
FAILED_VIOLATION = 1000.0


class WeightedNSGA2:
    """Minimises {-accuracy, multiply-adds, -params}, or other `weights`' metrics, under multiply_adds < `max_multiply_adds`.

    The first `ask` gives P0 and Q0 at once, 2 N feasible genomes drawn uniformly, and counts as two generations;
    every later one gives N children. So `generations` generations are 2 N + (generations - 2) N evaluations: 8,400
    at the defaults. Bounds on what is counted or predicted are kept before a genome is handed out. The floor
    accuracy > `min_accuracy` is a constraint after evaluation, as are `limits` and `floors` on whatever else an
    evaluation answers; so is a failed evaluation, which counts as infeasible and never as a model of the first front.
    Children are kept distinct from one another and from the population as long as the bounds leave enough networks.

    `weights` scale the objectives in the crowding distance alone, not in dominance [reading]: {metric: weight}, or
    three numbers for accuracy, multiply-adds and params. `limits` and `floors` are {metric: value}, strict; `table`
    predicts metrics that costs do not tell. See Objectives for `directions`. Every pair of parents is crossed at one
    point; a child of theirs then goes through `mutation` [reading of the probabilities].

    Raises InputError for settings out of range and for a budget that no network of the space meets.
    """

    def __init__(
        self,
        costs: CostTable,
        population_size: int = 70,
        generations: int = 120,
        weights: Mapping[str, float] | Sequence[float] = (0.4, 0.4, 0.2),
        max_multiply_adds: float | None = 500e6,
        min_accuracy: float | None = None,
        mutation: Mutation | None = None,
        seed: int = 0,
        limits: Mapping[str, float] | None = None,
        floors: Mapping[str, float] | None = None,
        directions: Mapping[str, str] | None = None,
        table: MetricTable | None = None,
    ):
        check_settings(population_size, generations, max_multiply_adds, min_accuracy, seed)
        self.costs, self.space = costs, costs.space
        self.population_size, self.generations = int(population_size), int(generations)
        bounds = (max_multiply_adds, min_accuracy)
        self.figures, self.goals = figures_and_goals(costs, *bounds, weights, limits, floors, directions, table)
        self.mutation = mutation if mutation is not None else UniformMutation()

        self._budget = Budget(self.figures, self.goals)
        self._survival = WeightedSurvival(list(self.goals.weights.values()))
        self._crossover = SinglePointCrossover(prob=1.0)
        self._problem = Problem(n_var=self.space.num_layers)
        self._directions = {name: self.goals.direction(name) for name in self.goals.names}
        self._box = HypervolumeBox(self.figures, self.goals)

        self.generation = self.evaluations = 0
        self.hypervolume: list[float] = []  # one value a tell, of the population's feasible first front
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.genomes = np.zeros((0, self.space.num_layers), np.int64)
        self.metrics: list[dict | None] = []  # of the population; None: its evaluation failed
        self.objectives, self.violation = self._scored([])
        self.rank = np.zeros(0, np.int64)
        self.crowding = np.zeros(0)
        self._pending: np.ndarray | None = None

    # -- the algorithm --------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return self.generation >= self.generations

    @property
    def total_evaluations(self) -> int:
        return self.generations * self.population_size

    @property
    def pending(self) -> np.ndarray | None:
        """The genomes that were asked for and not told yet; None between a tell and the next ask."""
        return self._pending

    @property
    def front(self) -> np.ndarray:
        """Indices of the population's feasible first front."""
        return np.flatnonzero((self.rank == 0) & (self.violation <= 0))

    def ask(self) -> np.ndarray:
        """The genomes to evaluate next, int [2 N or N, num_layers]; the same ones until they are told."""
        if self._pending is None:
            if self.finished:
                raise RuntimeError(f"the search has ended after {self.generation} generations")
            if len(self.genomes):
                self._pending = self._budget.breed(self._mate, self.population_size, self.genomes, self.rng)
            else:
                self._pending = self._budget.sample(2 * self.population_size, self.rng)
        return self._pending.copy()

    def tell(self, results: Sequence[Mapping | None]) -> None:
        """Takes {"accuracy": float, ...} for each genome asked for, in that order; None where evaluation failed.

        Raises InputError when an accuracy is missing or not a number from 0 to 1; nothing has changed then.
        """
        if self._pending is None:
            raise RuntimeError("tell: nothing has been asked for")
        genomes = self._pending
        if len(results) != len(genomes):
            raise InputError(f"results: expected {len(genomes)}, one a genome, got {len(results)}")
        computed = self.figures.names
        evaluated = [None if result is None else self.goals.check(result, computed) for result in results]
        # First, because it may be a user's code: where it fails, the search itself has not changed yet.
        self.mutation.tell(genomes.copy(), results)
        self._survive(genomes, self.figures.complete(genomes, evaluated))
        self._pending = None
        self.generation += len(genomes) // self.population_size
        self.evaluations += len(genomes)
        self.hypervolume.append(self._box.measure(self.objectives[self.front]))
        if hasattr(self.mutation, "survived"):
            self.mutation.survived(self.genomes.copy(), self.genomes[self.front])

    def _scored(self, metrics: Sequence[Mapping | None]) -> tuple[np.ndarray, np.ndarray]:
        """Objectives [N, M] and violations of the bounds [N]; a failed evaluation scores 0 in everything."""
        failed = dict.fromkeys(self.goals.metrics, 0.0)
        objectives = self.goals.values([failed if found is None else found for found in metrics])
        violation = [FAILED_VIOLATION if found is None else self.goals.violation(found) for found in metrics]
        return objectives, np.array(violation, float)

    def _survive(self, genomes, metrics) -> None:
        """Keeps the best N of the population and `genomes`, by violation, rank and weighted crowding."""
        genomes = np.concatenate([self.genomes, genomes])
        metrics = [*self.metrics, *metrics]
        objectives, violation = self._scored(metrics)
        kept, rank, crowding = self._survival.keep(objectives, violation, self.population_size, self.rng)
        self.genomes, self.metrics = genomes[kept], [metrics[i] for i in kept]
        self.objectives, self.violation = objectives[kept], violation[kept]
        self.rank, self.crowding = rank, crowding

    # -- mating ---------------------------------------------------------------------------------------------

    def _mate(self, wanted: int) -> np.ndarray:
        """`wanted` children [wanted, num_layers] by tournament, crossover and mutation."""
        winners = tournament(self.violation, self.rank, self.crowding, 2 * math.ceil(wanted / 2), self.rng)
        pairs = winners.reshape(-1, 2)
        parents = Population.new("X", self.genomes)
        crossed = self._crossover.do(self._problem, parents, parents=pairs, random_state=self.rng).get("X")
        # pymoo lists all first children, then all second ones, which begin with the genes of the second parent.
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        front = self.genomes[self.front]
        mutated = [
            self.mutation.mutate(child, self.rng, self._context(pair, front))
            for child, pair in zip(crossed[:wanted], pairs, strict=False)
        ]
        return np.array(mutated, np.int64)

    def _context(self, pair, front) -> MutationContext:
        first, second = pair
        metrics = (self._metrics(first), self._metrics(second))
        return MutationContext(
            self.space, self.costs, self.generation, self.genomes[pair], metrics, front, self._directions
        )

    def _metrics(self, index) -> dict:
        found = self.metrics[index]
        return {"accuracy": None, **self.figures.of_one(self.genomes[index].tolist())} if found is None else dict(found)

    # -- state ----------------------------------------------------------------------------------------------

    def get_config(self) -> dict:
        """Plain JSON that tells one search from another; `generations`, which may be raised, is no part of it."""
        return {
            "population_size": self.population_size,
            **self.goals.get_config(),
            "table": self.figures.fingerprint,
            "mutation": self.mutation.get_config(),
        }

    def state_dict(self) -> dict:
        """Everything that the rest of the search depends on, in plain JSON types.

        Crowding distances are part of it because they were computed before the population was cut to N and cannot
        be had again; an infinite one is written as None.
        """
        return {
            "version": STATE_VERSION,
            "generation": self.generation,
            "evaluations": self.evaluations,
            "rng": self.rng.bit_generator.state,
            "genomes": encode(self.genomes),
            "metrics": [None if found is None else dict(found) for found in self.metrics],
            "rank": self.rank.tolist(),
            "crowding": [None if math.isinf(value) else value for value in self.crowding.tolist()],
            "pending": None if self._pending is None else encode(self._pending),
            "hypervolume": list(self.hypervolume),
            "mutation": self.mutation.state_dict(),
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Inverse of `state_dict`, for a search that was made with the same settings."""
        if state.get("version") != STATE_VERSION:
            raise InputError(f"state.version: expected {STATE_VERSION}, got {state.get('version')!r}")
        self.generation, self.evaluations = state["generation"], state["evaluations"]
        self.rng.bit_generator.state = state["rng"]
        self.genomes = self._decode(state["genomes"])
        self.metrics = [None if found is None else dict(found) for found in state["metrics"]]
        self.objectives, self.violation = self._scored(self.metrics)
        self.rank = np.array(state["rank"], np.int64)
        self.crowding = np.array([math.inf if value is None else value for value in state["crowding"]])
        self._pending = None if state["pending"] is None else self._decode(state["pending"])
        self.hypervolume = list(state["hypervolume"])
        self.mutation.load_state_dict(state["mutation"])

    def _decode(self, lines: Sequence[str]) -> np.ndarray:
        return np.array([decode(line) for line in lines], np.int64).reshape(-1, self.space.num_layers)
