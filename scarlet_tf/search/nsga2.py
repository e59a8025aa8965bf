"""Constrained and weighted NSGA-II behind ask and tell (SCARLET-NAS, supplement, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.indicators.hv import Hypervolume
from pymoo.operators.crossover.pntx import SinglePointCrossover
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.operators.survival.rank_and_crowding.metrics import FunctionalDiversity
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from scarlet_tf.cost import CostTable
from scarlet_tf.errors import InputError
from scarlet_tf.search.mutation import Mutation, MutationContext, UniformMutation

STATE_VERSION = 1
# Uniform draws tried for each individual that is wanted, before draws over budget are made cheaper step by step.
DRAWS_PER_INDIVIDUAL = 100
# Rounds of one draw for each individual still wanted, made cheaper until it meets the budget.
REPAIR_ROUNDS = 20
# Rounds of mating in which children over budget are thrown away; in as many more they are made cheaper instead.
MATING_ROUNDS = 10
# The accuracy floor is missed by at most 1, so a failed evaluation counts as worse than any model that was evaluated.
FAILED_VIOLATION = 2.0
_UNRANKED = 2**31 - 1


class BadMetrics(InputError):
    """An evaluation answered something that cannot be an accuracy."""


class WeightedNSGA2:
    """Minimises {-accuracy, multiply-adds, -params} under multiply_adds < `max_multiply_adds`.

    The first `ask` gives P0 and Q0 at once, 2 N feasible genomes drawn uniformly, and counts as two generations;
    every later one gives N children. So `generations` generations are 2 N + (generations - 2) N evaluations: 8,400
    at the defaults. The budget is checked before a genome is handed out. The floor accuracy > `min_accuracy` is a
    constraint after evaluation; so is a failed evaluation, which counts as infeasible and never as a model of the
    first front unless nothing at all is feasible. Children are kept distinct from one another and from the
    population as long as the budget leaves enough networks for that.

    `weights` scale the objectives in the crowding distance alone, not in dominance [reading]. Every pair of parents
    is crossed at one point; a child of theirs then goes through `mutation` [reading of the probabilities].

    Raises InputError for settings out of range and for a budget that no network of the space meets.
    """

    def __init__(
        self,
        costs: CostTable,
        population_size: int = 70,
        generations: int = 120,
        weights: Sequence[float] = (0.4, 0.4, 0.2),
        max_multiply_adds: float = 500e6,
        min_accuracy: float | None = None,
        mutation: Mutation | None = None,
        seed: int = 0,
    ):
        check_settings(population_size, generations, weights, max_multiply_adds, min_accuracy, seed)
        self.costs, self.space = costs, costs.space
        self.population_size, self.generations = int(population_size), int(generations)
        self.weights = tuple(float(weight) for weight in weights)
        self.max_multiply_adds = float(max_multiply_adds)
        self.min_accuracy = None if min_accuracy is None else float(min_accuracy)
        self.mutation = mutation if mutation is not None else UniformMutation()
        _check_budget(costs, max_multiply_adds)

        self.generation = self.evaluations = 0
        self.hypervolume: list[float] = []  # one value a tell, of the population's feasible first front
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.genomes = np.zeros((0, self.space.num_layers), np.int64)
        self.objectives = np.zeros((0, 3))
        self.violation = np.zeros(0)
        self.rank = np.zeros(0, np.int64)
        self.crowding = np.zeros(0)
        self._pending: np.ndarray | None = None

        crowding = FunctionalDiversity(self._crowding, filter_out_duplicates=False)
        self._survival = RankAndCrowding(crowding_func=crowding)
        self._crossover = SinglePointCrossover(prob=1.0)
        self._problem = Problem(n_var=self.space.num_layers, n_obj=3, n_ieq_constr=1)
        self._box = _objective_box(costs, max_multiply_adds)

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
            started = len(self.genomes) > 0
            self._pending = self._children() if started else self._sample(2 * self.population_size)
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
        accuracies = [None if result is None else checked_accuracy(result) for result in results]
        objectives, violation = self._score(genomes, accuracies)
        self._survive(genomes, objectives, violation)
        self.mutation.tell(genomes, results)
        self._pending = None
        self.generation += len(genomes) // self.population_size
        self.evaluations += len(genomes)
        self.hypervolume.append(self._measure())

    def _score(self, genomes, accuracies) -> tuple[np.ndarray, np.ndarray]:
        """Objectives [N, 3] and constraint violations [N]; a failed evaluation scores as accuracy 0."""
        multiply_adds, params = self.costs.count(genomes)
        accuracy = np.array([0.0 if value is None else value for value in accuracies])
        violation = np.zeros(len(genomes))
        if self.min_accuracy is not None:
            # The floor itself is not enough: accuracy > min_accuracy.
            missed = np.maximum(self.min_accuracy - accuracy, np.finfo(float).tiny)
            violation = np.where(accuracy > self.min_accuracy, 0.0, missed)
        violation[[value is None for value in accuracies]] = FAILED_VIOLATION
        return np.column_stack([-accuracy, multiply_adds, -params]).astype(float), violation

    def _survive(self, genomes, objectives, violation) -> None:
        """Keeps the best N of the population and `genomes`, by rank and weighted crowding."""
        genomes = np.concatenate([self.genomes, genomes])
        objectives = np.concatenate([self.objectives, objectives])
        violation = np.concatenate([self.violation, violation])
        individuals = Population.new("F", objectives, "G", violation[:, None])
        individuals.set("rank", np.full(len(genomes), _UNRANKED), "crowding", np.zeros(len(genomes)))
        kept = self._survival.do(
            self._problem,
            individuals,
            n_survive=self.population_size,
            random_state=self.rng,
            return_indices=True,
        )
        self.genomes, self.objectives, self.violation = genomes[kept], objectives[kept], violation[kept]
        self.rank = individuals[kept].get("rank").astype(np.int64)
        self.crowding = individuals[kept].get("crowding").astype(float)

    def _crowding(self, objectives, **_):
        return weighted_crowding(objectives, self.weights)

    def _measure(self) -> float:
        """Hypervolume of the first front in units of the box between the fixed ideal and reference points."""
        front = self.objectives[self.front]
        if not len(front):
            return 0.0
        ideal, reference = self._box
        span = np.where(reference > ideal, reference - ideal, 1.0)
        return float(Hypervolume(ref_point=np.ones(3))((front - ideal) / span))

    # -- candidates -----------------------------------------------------------------------------------------

    def _feasible(self, genomes) -> np.ndarray:
        return self.costs.count(genomes)[0] < self.max_multiply_adds

    def _draw(self, count: int) -> np.ndarray:
        return self.rng.integers(self.space.num_choices, size=(count, self.space.num_layers))

    def _sample(self, wanted: int) -> np.ndarray:
        """`wanted` genomes under budget, [wanted, num_layers], distinct where that many can be found.

        Uniform draws that meet the budget come first. When a tight budget refuses nearly all of them, random draws
        are made cheaper step by step until they meet it: no longer uniform, but bounded and spread over layers.
        """
        found = _Distinct(wanted)
        for _ in range(DRAWS_PER_INDIVIDUAL):
            draws = self._draw(wanted)
            found.extend(draws[self._feasible(draws)])
            if found.full:
                return found.take()
        for _ in range(REPAIR_ROUNDS):
            missing = found.missing
            cheaper = [self._cheapen(genome) for genome in self._draw(missing)]
            found.extend([genome for genome in cheaper if genome is not None])
            # A whole round of nothing new: the budget leaves hardly more networks than were found.
            if found.full or (found.any and found.missing == missing):
                break
        if not found.any:
            raise InputError(
                f"search.max_multiply_adds: no network below {self.max_multiply_adds / 1e6:g} M multiply-adds was found "
                f"in {DRAWS_PER_INDIVIDUAL * wanted} random draws and {REPAIR_ROUNDS * wanted} draws made "
                f"cheaper; {_reach(self.costs)}"
            )
        return found.take()

    def _cheapen(self, genome) -> np.ndarray | None:
        """Redraws genes at random among the cheaper choices until the budget is met; None where none is left."""
        genome = genome.copy()
        num_layers, num_choices = self.space.num_layers, self.space.num_choices
        # Every step makes the network cheaper, so the loop ends; the bound is there against surprises.
        for _ in range(num_layers * num_choices):
            cost, _ = self.costs.count_one(genome.tolist())
            if cost < self.max_multiply_adds:
                return genome
            for layer in self.rng.permutation(num_layers):
                variants = np.repeat(genome[None], num_choices, axis=0)
                variants[:, layer] = np.arange(num_choices)
                cheaper = np.flatnonzero(self.costs.count(variants)[0] < cost)
                if len(cheaper):
                    genome[layer] = self.rng.choice(cheaper)
                    break
            else:
                return None
        return None

    def _children(self) -> np.ndarray:
        """N children by tournament, crossover and mutation, all under budget, [N, num_layers]."""
        found = _Distinct(self.population_size, known=self.genomes)
        for attempt in range(2 * MATING_ROUNDS):
            missing = found.missing
            children = self._mate(missing)
            feasible = self._feasible(children)
            found.extend(children[feasible])
            if attempt >= MATING_ROUNDS:
                cheaper = [self._cheapen(child) for child in children[~feasible]]
                found.extend([child for child in cheaper if child is not None])
            if found.full or (attempt >= MATING_ROUNDS and found.missing == missing):
                break
        return found.take(fallback=self.genomes)

    def _mate(self, wanted: int) -> np.ndarray:
        pairs = self._tournament(2 * math.ceil(wanted / 2)).reshape(-1, 2)
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

    def _tournament(self, count: int) -> np.ndarray:
        """`count` winners [count] of binary tournaments: by violation, then rank, then crowding distance."""
        first, second = self.rng.integers(len(self.genomes), size=(2, count))
        order = np.lexsort([-self.crowding, self.rank, self.violation])
        keys = np.column_stack([self.violation, self.rank, -self.crowding])[order]
        changes = np.concatenate([[0], np.cumsum(np.any(keys[1:] != keys[:-1], axis=1))])
        place = np.empty(len(order), np.int64)
        place[order] = changes
        # Equals keep the contender that was drawn first, which is random already.
        return np.where(place[second] < place[first], second, first)

    def _context(self, pair, front) -> MutationContext:
        metrics = tuple(self._metrics(index) for index in pair)
        return MutationContext(self.space, self.costs, self.generation, self.genomes[pair], metrics, front)

    def _metrics(self, index) -> dict:
        accuracy, multiply_adds, params = self.objectives[index] * (-1, 1, -1)
        failed = self.violation[index] == FAILED_VIOLATION
        return {
            "accuracy": None if failed else float(accuracy),
            "multiply_adds": int(multiply_adds),
            "params": int(params),
        }

    # -- state ----------------------------------------------------------------------------------------------

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
            "objectives": self.objectives.tolist(),
            "violation": self.violation.tolist(),
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
        self.objectives = np.array(state["objectives"], float).reshape(-1, 3)
        self.violation = np.array(state["violation"], float)
        self.rank = np.array(state["rank"], np.int64)
        self.crowding = np.array([math.inf if value is None else value for value in state["crowding"]])
        self._pending = None if state["pending"] is None else self._decode(state["pending"])
        self.hypervolume = list(state["hypervolume"])
        self.mutation.load_state_dict(state["mutation"])

    def _decode(self, lines: Sequence[str]) -> np.ndarray:
        genomes = [[int(gene) for gene in line.split(",")] for line in lines]
        return np.array(genomes, np.int64).reshape(-1, self.space.num_layers)


class _Distinct:
    """Collects up to `wanted` genomes that differ from one another and from `known`; keeps the rest as spares."""

    def __init__(self, wanted: int, known=()):
        self._wanted = wanted
        self._seen = {tuple(genome) for genome in np.asarray(known).tolist()}
        self._found: list = []
        self._spare: list = []

    @property
    def missing(self) -> int:
        return self._wanted - len(self._found)

    @property
    def full(self) -> bool:
        return self.missing <= 0

    @property
    def any(self) -> bool:
        return bool(self._found or self._spare)

    def extend(self, genomes) -> None:
        for genome in np.asarray(genomes).tolist():
            if self.full:
                return
            if tuple(genome) in self._seen:
                self._spare = [*self._spare, genome][: self._wanted]
            else:
                self._seen.add(tuple(genome))
                self._found.append(genome)

    def take(self, fallback=()) -> np.ndarray:
        """Exactly `wanted` genomes; repeats fill what is missing."""
        repeats = [*self._spare, *np.asarray(fallback).tolist()] or list(self._found)
        filled = [repeats[i % len(repeats)] for i in range(self.missing)]
        return np.array(self._found + filled, np.int64)


# -- functions -----------------------------------------------------------------------------------------------


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


def non_dominated(objectives: np.ndarray) -> np.ndarray:
    """Indices of the rows of objectives [N, M], all minimised, that no other row dominates; equals all stay."""
    return NonDominatedSorting().do(np.asarray(objectives, float), only_non_dominated_front=True)


def pick_equispaced(front: np.ndarray, k: int) -> list[int]:
    """Indices of `k` rows of `front` [N, 3] = (-accuracy, multiply_adds, -params), equispaced along it.

    The front is walked in order of multiply-adds; distance is arc length with every objective scaled to 0..1
    [reading]. Both ends are picked when k > 1, and the model nearest to the middle when k is 1. No row comes twice;
    k >= N gives them all. The result is in order of multiply-adds.
    """
    if k < 1:
        raise InputError(f"picks: expected an integer >= 1, got {k!r}")
    front = np.asarray(front, float).reshape(-1, 3)
    order = np.lexsort([front[:, 2], front[:, 0], front[:, 1]])
    if k >= len(front):
        return order.tolist()
    points = front[order]
    span = np.ptp(points, axis=0)
    points = points / np.where(span > 0, span, 1.0)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    position = np.concatenate([[0.0], np.cumsum(steps)])
    targets = np.linspace(0, position[-1], k) if k > 1 else [position[-1] / 2]
    picked: list[int] = []
    for i, target in enumerate(targets):
        # Between the last pick and the places that the picks still to come need.
        low, high = (picked[-1] + 1 if picked else 0), len(front) - (k - i - 1)
        picked.append(low + int(np.argmin(np.abs(position[low:high] - target))))
    return order[picked].tolist()


def encode(genomes) -> list[str]:
    """Genomes [N, num_layers] as canonical strings, "4,8,2,..."."""
    return [",".join(map(str, genome)) for genome in np.asarray(genomes).tolist()]


def checked_accuracy(metrics: Mapping) -> float:
    """The accuracy among an evaluation's metrics; BadMetrics unless it is there and a number from 0 to 1."""
    if "accuracy" not in metrics:
        raise BadMetrics(f"metrics.accuracy: missing; got {sorted(metrics)}")
    try:
        accuracy = float(metrics["accuracy"])
    except (TypeError, ValueError):
        accuracy = math.nan
    if not 0 <= accuracy <= 1:
        raise BadMetrics(f"metrics.accuracy: expected a number from 0 to 1, got {metrics['accuracy']!r}")
    return accuracy


def check_settings(population_size, generations, weights, max_multiply_adds, min_accuracy, seed) -> None:
    """Raises InputError that names the key under `search`, what was expected and what came."""
    for key, value, low in (
        ("population_size", population_size, 2),
        ("generations", generations, 2),
        ("seed", seed, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise InputError(f"search.{key}: expected an integer >= {low}, got {value!r}")
    if not _are_weights(weights):
        raise InputError(
            "search.weights: expected three numbers >= 0, not all 0, for accuracy, multiply-adds and params, "
            f"got {weights!r}"
        )
    if not _is_number(max_multiply_adds) or not 0 < max_multiply_adds < math.inf:
        raise InputError(f"search.max_multiply_adds: expected a finite number > 0, got {max_multiply_adds!r}")
    if min_accuracy is not None and not (_is_number(min_accuracy) and 0 <= min_accuracy < 1):
        raise InputError(f"search.min_accuracy: expected a number from 0 up to 1, or null, got {min_accuracy!r}")


def _is_number(value) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and not math.isnan(value)


def _are_weights(weights) -> bool:
    if not isinstance(weights, Sequence) or isinstance(weights, str) or len(weights) != 3:
        return False
    return all(_is_number(w) and 0 <= w < math.inf for w in weights) and sum(weights) > 0


def _check_budget(costs: CostTable, max_multiply_adds: float) -> None:
    if costs.bounds["multiply_adds"][0] >= max_multiply_adds:
        raise InputError(
            f"search.max_multiply_adds: no network of the space costs less than {max_multiply_adds / 1e6:g} M; "
            f"{_reach(costs)}"
        )


def _reach(costs: CostTable) -> str:
    low, high = costs.bounds["multiply_adds"]
    return (
        f"space {costs.space.name!r} reaches from {low / 1e6:.2f} M to {high / 1e6:.2f} M multiply-adds "
        f"at {costs.input_size} pixels"
    )


def _objective_box(costs: CostTable, max_multiply_adds: float) -> tuple[np.ndarray, np.ndarray]:
    """The ideal point and the hypervolume's reference point, fixed by the space and the budget alone.

    Ideal: accuracy 1, the space's least multiply-adds and most params. Reference: accuracy 0, the budget (or the
    space's most multiply-adds where that is less), the space's least params.
    """
    (low, high), (few, many) = costs.bounds["multiply_adds"], costs.bounds["params"]
    return np.array([-1.0, low, -many]), np.array([0.0, min(high, max_multiply_adds), -few])
