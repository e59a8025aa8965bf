"""HierarchicalMutation: children are changed by operators that are drawn, and it is counted how they fare."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.search.genomes import encode
from scarlet_tf.search.mutation import MutationContext
from scarlet_tf.search.operators import Operator, draw

UNCHANGED = "crossover"  # stands for the children that no operator changed


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


class HierarchicalMutation:
    """With probability `ratio` a child is changed by one operator, which is drawn.

    `operators` maps a name to (probability, Operator). Of a hierarchy of draws these are the leaves with the product of
    the probabilities on the way, which is the same distribution (MutationConfig.probabilities). They are scaled to a
    sum of 1. All operators are told all results.

    A child that is made cheaper after it was refused again and again is nobody's: it is not counted.
    """

    def __init__(self, operators: Mapping[str, tuple[float, Operator]], ratio: float = 0.8):
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
        # By genome, of the children that may be told next: the operator and the first parent's accuracy.
        self._made: dict[str, tuple[str, float | None]] = {}
        self._told: dict[str, str] = {}  # the operators of the last tell's children, until `survived`

    def mutate(self, genome: np.ndarray, rng: np.random.Generator, context: MutationContext) -> np.ndarray:
        name, child = self._mutated(genome, rng, context)
        self._tallies[name].children += 1
        self._made.setdefault(_line(child), (name, context.parent_metrics[0].get("accuracy")))
        return child

    def tell(self, genomes: np.ndarray, metrics: Sequence[Mapping | None]) -> None:
        for operator in self.operators.values():
            operator.tell(genomes, metrics)
        made, self._made, self._told = self._made, {}, {}
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

    def statistics(self) -> dict[str, dict]:
        """By operator's name, plain JSON: see Tally; "crossover" stands for the children that were left unchanged."""
        return {name: tally.summary() for name, tally in self._tallies.items()}

    def get_config(self) -> dict:
        operators = {
            name: {"probability": probability, **operator.get_config()}
            for (name, operator), probability in zip(self.operators.items(), self._probabilities.tolist(), strict=True)
        }
        return {"name": "hierarchical", "ratio": self.ratio, "operators": operators}

    def state_dict(self) -> dict:
        return {
            "operators": {name: operator.state_dict() for name, operator in self.operators.items()},
            "tallies": {name: dataclasses.asdict(tally) for name, tally in self._tallies.items()},
            "made": {line: list(record) for line, record in self._made.items()},
        }

    def load_state_dict(self, state: Mapping) -> None:
        for name, operator in self.operators.items():
            operator.load_state_dict(state["operators"][name])
        self._tallies = {name: Tally(**state["tallies"][name]) for name in self._tallies}
        self._made = {line: (name, accuracy) for line, (name, accuracy) in state["made"].items()}
        self._told = {}

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


def _line(genome) -> str:
    return encode(genome[None])[0]
