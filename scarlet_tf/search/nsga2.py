"""Constrained and weighted NSGA-II with ask and tell (SCARLET-NAS, supplement, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.operators.crossover.pntx import SinglePointCrossover
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.operators.survival.rank_and_crowding.metrics import FunctionalDiversity

from scarlet_tf.search.algorithm import Algorithm, check_settings
from scarlet_tf.search.budget import Budget
from scarlet_tf.search.front import HypervolumeBox
from scarlet_tf.search.mutation import Mutation, MutationContext, UniformMutation
from scarlet_tf.space.cost import CostTable

# Every bound is missed by less than 1, so a failed evaluation counts as worse than any model that was evaluated.
FAILED_VIOLATION = 1000.0
_UNRANKED = 2**31 - 1


class WeightedNSGA2(Algorithm):
    """Minimises {-accuracy, multiply-adds, -params}, or other `weights`' metrics, under multiply_adds < `max_multiply_adds`.

    The first `ask` gives P0 and Q0 at once, 2 N feasible genomes drawn uniformly, and counts as two generations;
    every later one gives N children. So `generations` generations are 2 N + (generations - 2) N evaluations: 8,400
    at the defaults. Bounds on what is counted or predicted are kept before a genome is handed out. The bound
    accuracy > `min_accuracy` is a constraint after evaluation, as are `upper_bounds` and `lower_bounds` on whatever else an
    evaluation returns; so is a failed evaluation, which counts as infeasible and never as a model of the first front.
    Children are kept distinct from one another and from the population as long as the bounds leave enough networks.

    `weights` scale the objectives in the crowding distance alone, not in dominance [reading]: {metric: weight}, or
    three numbers for accuracy, multiply-adds and params. `upper_bounds` and `lower_bounds` are {metric: value}, strict; `table`
    predicts metrics that costs do not tell. See Objectives for `directions`. Every pair of parents is crossed at one
    point; a child of theirs then goes through `mutation` [reading of the probabilities].

    With `ahead` a generation is bred while so many before it are still evaluated, from what was told until then. So there
    is always something to evaluate, and what is bred does not depend on how many evaluate.

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
        ahead: int = 0,
        **metrics,
    ):
        check_settings(population_size, generations, max_multiply_adds, min_accuracy, seed)
        evaluations = int(generations) * int(population_size)
        super().__init__(costs, evaluations, max_multiply_adds, min_accuracy, weights=weights, **metrics)
        self.population_size = int(population_size)
        self.mutation = mutation if mutation is not None else UniformMutation()
        self.ahead = int(ahead)
        if ahead:
            self.mutation.remember(self.ahead)
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self._budget, self._box = (
            Budget(self.cost_model, self.objectives),
            HypervolumeBox(self.cost_model, self.objectives),
        )
        self._survival = WeightedSurvival(list(self.objectives.weights.values()))
        self._crossover, self._problem = SinglePointCrossover(prob=1.0), Problem(n_var=self.space.num_layers)
        self._directions = {name: self.objectives.direction(name) for name in self.objectives.names}

        self.genomes = np.zeros((0, self.space.num_layers), np.int64)  # the population, by violation, rank and crowding
        self.metrics: list[dict | None] = []  # of the population; None: its evaluation failed
        self.scores, self.violation = self._scored([])
        self.rank, self.crowding = np.zeros(0, np.int64), np.zeros(0)

    @property
    def generation(self) -> int:
        """Number of generations told so far; the first tell counts as two."""
        return self.evaluations // self.population_size

    @property
    def front(self) -> np.ndarray:
        """Indices of the population's feasible first front."""
        return np.flatnonzero((self.rank == 0) & (self.violation <= 0))

    def get_config(self) -> dict:
        return {
            "population_size": self.population_size,
            **self.objectives.get_config(),
            "table": self.cost_model.fingerprint,
            "mutation": self.mutation.get_config(),
            **({"ahead": self.ahead} if self.ahead else {}),
        }

    # -- the algorithm --------------------------------------------------------------------------------------

    def _draw(self) -> np.ndarray:
        if not len(self.genomes):
            return self._budget.sample(2 * self.population_size, self.rng)
        known = np.concatenate([self.genomes, *self._asked])
        return self._budget.breed(self._mate, self.population_size, known, self.rng)

    def _mate(self, wanted: int) -> np.ndarray:
        """Return `wanted` children [wanted, num_layers] by tournament, crossover and mutation."""
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

    def _learn(self, genomes: np.ndarray, metrics: list[dict | None]) -> float:
        """Keep the best N of the population and `genomes`, by violation, rank and weighted crowding."""
        # First, because it may be a user's code: where it fails, the search itself has not changed yet.
        self.mutation.tell(genomes.copy(), metrics)
        genomes, metrics = np.concatenate([self.genomes, genomes]), [*self.metrics, *metrics]
        scores, violation = self._scored(metrics)
        kept, self.rank, self.crowding = self._survival.keep(scores, violation, self.population_size, self.rng)
        self.genomes, self.metrics = genomes[kept], [metrics[i] for i in kept]
        self.scores, self.violation = scores[kept], violation[kept]
        if hasattr(self.mutation, "survived"):
            self.mutation.survived(self.genomes.copy(), self.genomes[self.front])
        return self._box.measure(self.scores[self.front])

    def _scored(self, metrics: Sequence[Mapping | None]) -> tuple[np.ndarray, np.ndarray]:
        """Objectives [N, M], all minimised, and violations of the bounds [N]; a failed evaluation scores 0 in everything."""
        failed = dict.fromkeys(self.objectives.metrics, 0.0)
        scores = self.objectives.values([failed if found is None else found for found in metrics])
        violation = [FAILED_VIOLATION if found is None else self.objectives.violation(found) for found in metrics]
        return scores, np.array(violation, float)

    def _context(self, pair, front) -> MutationContext:
        metrics = (self._metrics(pair[0]), self._metrics(pair[1]))
        return MutationContext(
            self.space, self.costs, self.generation, self.genomes[pair], metrics, front, self._directions
        )

    def _metrics(self, index) -> dict:
        found = self.metrics[index]
        return (
            {"accuracy": None, **self.cost_model.of_one(self.genomes[index].tolist())} if found is None else dict(found)
        )


class WeightedSurvival:
    """NSGA-II's survival under one constraint, its crowding distance with `weights` [M]."""

    def __init__(self, weights: Sequence[float]):
        self._weights = weights
        crowding = FunctionalDiversity(self._crowding, filter_out_duplicates=False)
        self._survival = RankAndCrowding(crowding_func=crowding)
        # Survival reads from it only that there is a constraint.
        self._problem = Problem(n_var=1, n_obj=len(weights), n_ieq_constr=1)

    def keep(self, objectives, violation, count: int, rng) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Indices of the best `count` of objectives [N, M] and violation [N], with their ranks and crowding distances.

        Those that violate the constraint come after all others, by violation, and are not ranked.
        """
        individuals = Population.new("F", objectives, "G", violation[:, None])
        individuals.set("rank", np.full(len(objectives), _UNRANKED), "crowding", np.zeros(len(objectives)))
        kept = self._survival.do(self._problem, individuals, n_survive=count, random_state=rng, return_indices=True)
        ranked = individuals[kept]
        return kept, ranked.get("rank").astype(np.int64), ranked.get("crowding").astype(float)

    def _crowding(self, objectives, **_):
        return weighted_crowding(objectives, self._weights)


def weighted_crowding(objectives: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """D(j) = sum_i w_i (f_i(j+1) - f_i(j-1)) / (f_i_max - f_i_min) for objectives [N, M], as [N].

    The ends of an objective's range are infinite. An objective that does not vary, or has weight 0, adds nothing.
    With equal weights 1/M this is the crowding distance as pymoo defines it.
    """
    distance = np.zeros(len(objectives))
    for values, weight in zip(np.asarray(objectives, float).T, weights, strict=True):
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        span = ordered[-1] - ordered[0]
        if span == 0 or weight == 0:
            continue
        gaps = np.full(len(ordered), np.inf)
        gaps[1:-1] = weight * (ordered[2:] - ordered[:-2]) / span
        distance[order] += gaps
    return distance


def tournament(violation, rank, crowding, count: int, rng) -> np.ndarray:
    """`count` winners [count] of binary tournaments among N individuals: by violation, then rank, then crowding."""
    first, second = rng.integers(len(rank), size=(2, count))
    order = np.lexsort([-crowding, rank, violation])
    keys = np.column_stack([violation, rank, -crowding])[order]
    changes = np.concatenate([[0], np.cumsum(np.any(keys[1:] != keys[:-1], axis=1))])
    place = np.empty(len(order), np.int64)
    place[order] = changes
    # Equals keep the contender that was drawn first, which is random already.
    return np.where(place[second] < place[first], second, first)
