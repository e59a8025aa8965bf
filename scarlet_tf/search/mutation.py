"""Mutation: how a child of crossover is changed before it becomes a candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.search.algorithm import encode
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.search_space import SearchSpace

COUNTED = ("multiply_adds", "params")
UNCHANGED = "crossover"  # stands for the children that no operator changed


@dataclasses.dataclass(frozen=True)
class MutationContext:
    """Information available to a mutation.

    `parents` is int [2, num_layers]; the child begins with the genes of row 0 and ends with those of row 1.
    `parent_metrics` holds {"accuracy", "multiply_adds", "params"} of the two; accuracy is None for a parent whose
    evaluation failed. `front` is int [M, num_layers]: the genomes of the population's first front.
    `directions` says of each objective whether it is to be small or large, "min" or "max".
    """

    space: SearchSpace
    costs: CostTable
    generation: int
    parents: np.ndarray
    parent_metrics: tuple[Mapping, Mapping]
    front: np.ndarray
    directions: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"multiply_adds": "min", "params": "max"})


class Mutation:
    """Changes children and may learn from what became of them. A subclass needs `mutate` alone.

    All randomness comes from the `rng` that is passed in, and all that is learnt from `tell`: a search is resumed by telling
    it again what a journal has, so the same calls have to give the same genomes. A child may be refused (over budget, or
    a repeat), and `mutate` is then called again, so a mutation that learns has to match the genomes of `tell` with those
    that it returned.

    Two methods more are called where a mutation has them. `survived(population, front)` comes after each `tell`, once
    the search has gone on: the genomes [N, num_layers] of the new population and those of its feasible first front.
    `statistics()` gives plain JSON for the search's result.
    """

    def mutate(self, genome: np.ndarray, rng: np.random.Generator, context: MutationContext) -> np.ndarray:
        """Return a genome, int [num_layers]; `genome` itself must not be written to."""
        raise NotImplementedError

    def tell(self, genomes: np.ndarray, metrics: Sequence[Mapping | None]) -> None:
        """Learn, after each generation, from its genomes, int [N, num_layers], and their metrics, None where it failed."""

    def remember(self, ahead: int) -> None:
        """Be prepared that children are told after those of so many further generations were made."""

    def get_config(self) -> dict:
        """Plain JSON that tells one kind and setting of mutation from another."""
        return {"name": type(self).__name__}


class Made:
    """Memory of the children that a mutation made, by canonical string, until they are told.

    ahead: how many generations are made before the one in front of them is told.
    """

    def __init__(self) -> None:
        self.ahead = 0
        self._generations: list[dict] = [{}]  # the last one is being made

    def add(self, line: str, what) -> None:
        """Remember a child, unless it was made in this generation before."""
        self._generations[-1].setdefault(line, what)

    def take(self) -> dict:
        """Return what was made and may be told now; the next generation begins."""
        made = {line: what for generation in self._generations for line, what in generation.items()}
        self._generations = [*self._generations[max(len(self._generations) - self.ahead, 0) :], {}]
        return made


class UniformMutation(Mutation):
    """With probability `mutation_ratio`, one gene is redrawn uniformly among the other choices of its layer.

    The gene's layer is drawn uniformly too. The ratio's default is the one of [v2] for hierarchical mutation.
    """

    def __init__(self, mutation_ratio: float = 0.8):
        if not 0 <= mutation_ratio <= 1:
            raise InputError(f"mutation_ratio: expected a number from 0 to 1, got {mutation_ratio!r}")
        self.mutation_ratio = float(mutation_ratio)

    def mutate(self, genome, rng, context):
        num_choices = context.space.num_choices
        if rng.random() >= self.mutation_ratio or num_choices == 1:
            return genome
        return redraw_gene(genome, num_choices, rng)

    def get_config(self) -> dict:
        return {"name": "uniform", "mutation_ratio": self.mutation_ratio}


class RandomMutation(Mutation):
    """One gene, of a layer drawn uniformly, is drawn uniformly among the other choices [reading]."""

    def mutate(self, genome, rng, context):
        return redraw_gene(genome, context.space.num_choices, rng)


class RouletteMutation(Mutation):
    """One gene is drawn with probabilities that follow an objective that can be counted [reading].

    Layer and objective are drawn uniformly. Each choice of the layer gives a variant of the genome, whose costs are
    those of the whole network. Its probability is proportional to 1 / multiply-adds, or to params, which are
    maximised; to 1 / params where they are not. What is no objective of the search is not drawn. The present gene is
    one of the choices.

    objectives: those drawn from, some of "multiply_adds" and "params".
    """

    def __init__(self, objectives: Sequence[str] = COUNTED):
        if not objectives or not set(objectives) <= set(COUNTED):
            raise InputError(f"objectives: expected some of {', '.join(COUNTED)}, got {list(objectives)}")
        self.objectives = tuple(objectives)

    def mutate(self, genome, rng, context):
        wanted = [name for name in self.objectives if name in context.directions] or self.objectives
        objective = wanted[rng.integers(len(wanted))]
        layer = rng.integers(len(genome))
        return with_gene(genome, layer, draw(self.probabilities(genome, layer, objective, context), rng))

    def probabilities(self, genome, layer: int, objective: str, context: MutationContext) -> np.ndarray:
        """Probability of each choice of `layer`, [num_choices]."""
        choices = np.arange(context.space.num_choices)
        variants = np.repeat(genome[None], len(choices), axis=0)
        variants[:, layer] = choices
        multiply_adds, params = context.costs.count(variants)
        costs = multiply_adds if objective == "multiply_adds" else params
        fitness = costs if context.directions.get(objective) == "max" else 1 / costs
        return fitness / fitness.sum()

    def get_config(self):
        return {**super().get_config(), "objectives": list(self.objectives)}


class PriorRegulator(Mutation):
    """One gene, of a layer drawn uniformly, is drawn as often as each choice occurs there in the first front [reading].

    The present gene is one of the choices. While the front is empty, because nothing was evaluated that meets the
    constraints, all choices are equally likely.
    """

    def mutate(self, genome, rng, context):
        layer = rng.integers(len(genome))
        return with_gene(genome, layer, draw(self.probabilities(layer, context), rng))

    def probabilities(self, layer: int, context: MutationContext) -> np.ndarray:
        """Probability of each choice of `layer`, [num_choices]."""
        num_choices = context.space.num_choices
        counts = np.bincount(context.front[:, layer], minlength=num_choices)
        return counts / counts.sum() if counts.any() else np.full(num_choices, 1 / num_choices)


@dataclasses.dataclass
class Tally:
    """Outcome of one operator's children.

    children: all that it made, those refused over budget or as repeats included.
    evaluated, failed: those that were told, with and without a result.
    survived, front: those that were in the population, and in its first front, after their own generation.
    compared, accuracy_change: how many have a first parent with an accuracy, and the sum of differences to it.
    """

    children: int = 0
    evaluated: int = 0
    failed: int = 0
    survived: int = 0
    front: int = 0
    compared: int = 0
    accuracy_change: float = 0.0

    def summary(self) -> dict:
        """Plain JSON; the mean change of accuracy is None where nothing can be compared."""
        mean = self.accuracy_change / self.compared if self.compared else None
        counts = {key: getattr(self, key) for key in ("children", "evaluated", "failed", "survived", "front")}
        return {**counts, "mean_accuracy_change": mean}


class HierarchicalMutation(Mutation):
    """With probability `ratio` a child is changed by one operator, which is drawn.

    `operators` maps a name to (probability, Mutation). Of a hierarchy of draws these are the leaves with the product of
    the probabilities on the way, which is the same distribution (MutationConfig.probabilities). They are scaled to a
    sum of 1. All operators are told all results.

    A child that is made cheaper after it was refused again and again is nobody's: it is not counted.
    """

    def __init__(self, operators: Mapping[str, tuple[float, Mutation]], ratio: float = 0.8):
        if not 0 <= ratio <= 1:
            raise InputError(f"ratio: expected a number from 0 to 1, got {ratio!r}")
        for name, (probability, _) in operators.items():
            if name == UNCHANGED or not 0 < probability < np.inf:
                raise InputError(f"operators.{name}: expected another name than {UNCHANGED!r} and a probability > 0")
        if ratio and not operators:
            raise InputError("operators: expected at least one, got none")
        self.ratio = float(ratio)
        self.operators = {name: operator for name, (_, operator) in operators.items()}
        self._probabilities = np.array([float(probability) for probability, _ in operators.values()])
        self._tallies = {name: Tally() for name in (*self.operators, UNCHANGED)}
        self._made = Made()  # the operator and the first parent's accuracy
        self._told: dict[str, str] = {}  # the operators of the last tell's children, until `survived`

    def mutate(self, genome: np.ndarray, rng: np.random.Generator, context: MutationContext) -> np.ndarray:
        name, child = self._mutated(genome, rng, context)
        self._tallies[name].children += 1
        self._made.add(encode(child[None])[0], (name, context.parent_metrics[0].get("accuracy")))
        return child

    def tell(self, genomes: np.ndarray, metrics: Sequence[Mapping | None]) -> None:
        for operator in self.operators.values():
            operator.tell(genomes, metrics)
        made, self._told = self._made.take(), {}
        for line, result in zip(encode(genomes), metrics, strict=True):
            if line in made:
                name, before = made[line]
                self._told[line] = name
                self._count(self._tallies[name], before, result)

    def survived(self, population: np.ndarray, front: np.ndarray) -> None:
        """Counts which of the children that were told last are in the population [N, num_layers] and in its front."""
        alive, best = set(encode(population)), set(encode(front))
        for line, name in self._told.items():
            self._tallies[name].survived += line in alive
            self._tallies[name].front += line in best
        self._told = {}

    def remember(self, ahead: int) -> None:
        """Prepare all operators, too."""
        self._made.ahead = ahead
        for operator in self.operators.values():
            operator.remember(ahead)

    def statistics(self) -> dict[str, dict]:
        """By operator's name, plain JSON: see Tally; "crossover" stands for the children that were left unchanged."""
        return {name: tally.summary() for name, tally in self._tallies.items()}

    def get_config(self) -> dict:
        operators = {
            name: {"probability": probability, **operator.get_config()}
            for (name, operator), probability in zip(self.operators.items(), self._probabilities.tolist(), strict=True)
        }
        return {"name": "hierarchical", "ratio": self.ratio, "operators": operators}

    def _mutated(self, genome, rng, context) -> tuple[str, np.ndarray]:
        if rng.random() >= self.ratio or context.space.num_choices == 1:
            return UNCHANGED, genome
        name = list(self.operators)[draw(self._probabilities, rng)]
        return name, self.operators[name].mutate(genome, rng, context)

    @staticmethod
    def _count(tally: Tally, before: float | None, result: Mapping | None) -> None:
        if result is None:
            tally.failed += 1
            return
        tally.evaluated += 1
        if before is not None:
            tally.compared += 1
            tally.accuracy_change += float(result["accuracy"]) - before


def draw(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """An index with the given probabilities [M], which are scaled to a sum of 1; one of probability 0 never comes."""
    cumulative = np.cumsum(probabilities)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def redraw_gene(genome: np.ndarray, num_choices: int, rng: np.random.Generator) -> np.ndarray:
    """A copy in which one gene, of a layer drawn uniformly, is drawn uniformly among the other choices."""
    layer = rng.integers(len(genome))
    # Drawing among num_choices - 1 and stepping over the present one is uniform over the others.
    drawn = rng.integers(num_choices - 1)
    return with_gene(genome, int(layer), int(drawn + (drawn >= genome[layer])))


def with_gene(genome: np.ndarray, layer: int, choice: int) -> np.ndarray:
    """A copy of the genome with another choice in one layer."""
    child = genome.copy()
    child[layer] = choice
    return child
