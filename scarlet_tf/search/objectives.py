"""Metrics of architectures: what is known without an evaluation, what is optimised, and hard bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import bound_text
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.metric_table import MetricTable

PUBLISHED_WEIGHTS = {"accuracy": 0.4, "multiply_adds": 0.4, "params": 0.2}
# Params are maximised, as published: at equal multiply-adds, more of them mean more capacity.
DIRECTIONS = {"accuracy": "max", "multiply_adds": "min", "params": "max", "latency_ms": "min", "file_bytes": "min"}


class BadMetrics(InputError):
    """An evaluation returned something that cannot be one of the metrics it has to give."""


class Objectives:
    """Metrics to optimise, with their weights in the crowding distance, and hard bounds on metrics.

    Args:
        weights: {metric: weight >= 0}, or three numbers for accuracy, multiply-adds and params. Accuracy has to be there.
        upper_bounds: {metric: value}; every candidate stays below it.
        lower_bounds: {metric: value}; every candidate exceeds it.
        directions: {metric: "min" | "max"}, over DIRECTIONS; for another metric's, "min" where nothing is said.

    A metric that costs or a table give is checked before anything is evaluated; any other comes from an evaluation. Where an
    evaluation gives a "score" beside the accuracy, networks are compared by that: it is the objective, under accuracy's
    weight, while bounds stay those of the accuracy.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | Sequence[float] = tuple(PUBLISHED_WEIGHTS.values()),
        upper_bounds: Mapping[str, float] | None = None,
        lower_bounds: Mapping[str, float] | None = None,
        directions: Mapping[str, str] | None = None,
    ):
        self.weights = _checked_weights(weights)
        self.upper_bounds, self.lower_bounds = (
            _checked_bounds("upper_bounds", upper_bounds),
            _checked_bounds("lower_bounds", lower_bounds),
        )
        self.directions = {**DIRECTIONS, **_checked_directions(directions)}
        for kind, bounds in (("upper_bounds", self.upper_bounds), ("lower_bounds", self.lower_bounds)):
            if not 0 <= bounds.get("accuracy", 0) <= 1:
                raise InputError(
                    f"{key_of(kind, 'accuracy')}: expected a number from 0 to 1, got {bounds['accuracy']!r}"
                )
        for name in self.upper_bounds.keys() & self.lower_bounds.keys():
            if self.lower_bounds[name] >= self.upper_bounds[name]:
                upper, lower = self.upper_bounds[name], self.lower_bounds[name]
                raise InputError(
                    f"search.lower_bounds.{name}: expected less than its upper bound {upper:g}, got {lower:g}"
                )
        self.names = tuple(self.weights)
        self._signs = np.array([1.0 if self.direction(name) == "min" else -1.0 for name in self.names])

    def direction(self, name: str) -> str:
        return self.directions.get(name, "min")

    def better(self, name: str, value: float, bound: float) -> bool:
        """True if a metric is on the better side of `bound`."""
        return value < bound if self.direction(name) == "min" else value > bound

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that are optimised or bounded."""
        return tuple(dict.fromkeys([*self.names, *self.upper_bounds, *self.lower_bounds]))

    @property
    def cost_column(self) -> int:
        """Objective by which fronts are ordered: multiply-adds, else the first that is minimised, else the first."""
        others = [name for name in self.names if name != "accuracy"]
        costs = [name for name in others if self.direction(name) == "min"]
        return self.names.index("multiply_adds" if "multiply_adds" in others else (costs or others)[0])

    def bounds_in_words(self) -> list[str]:
        """Such as "multiply_adds < 4.00 M"."""
        upper_bounds = [f"{name} < {bound_text(name, value)}" for name, value in self.upper_bounds.items()]
        return upper_bounds + [f"{name} > {bound_text(name, value)}" for name, value in self.lower_bounds.items()]

    def evaluated_bounds(self, computed: Sequence[str]) -> str:
        """Metrics expected from evaluations, for the message that no model gave them."""
        bounds = [("upper_bounds", "less than", n, v) for n, v in self.upper_bounds.items() if n not in computed]
        bounds += [("lower_bounds", "more than", n, v) for n, v in self.lower_bounds.items() if n not in computed]
        wanted = [
            f"{key_of(bound, name)}: expected some model with {word} {value:g}" for bound, word, name, value in bounds
        ]
        return ", ".join(wanted) or "search: expected some evaluation that succeeds"

    def values(self, metrics: Sequence[Mapping]) -> np.ndarray:
        """The objectives of N candidates, all to be minimised, float [N, M]."""
        rows = [[score_of(found) if name == "accuracy" else found[name] for name in self.names] for found in metrics]
        return np.array(rows, float).reshape(-1, len(self.names)) * self._signs

    def violation(self, found: Mapping) -> float:
        """Violation of the bounds by a candidate's metrics: 0 if all are kept, below 1 for each that is missed."""
        missed = [_excess(found[name], limit) for name, limit in self.upper_bounds.items()]
        missed += [_excess(-found[name], -floor) for name, floor in self.lower_bounds.items()]
        return float(sum(missed))

    def meets(self, metrics: Mapping[str, np.ndarray]) -> np.ndarray:
        """True for candidates that keep the bounds on the metrics among `metrics` {name: [N]}, bool [N]."""
        met = np.ones(len(next(iter(metrics.values()))), bool)
        for name, values in metrics.items():
            met &= (values < self.upper_bounds.get(name, math.inf)) & (values > self.lower_bounds.get(name, -math.inf))
        return met

    def check(self, metrics: Mapping, computed: Sequence[str] = ()) -> dict[str, float]:
        """The metrics that an evaluation has to return; BadMetrics where one is missing or no finite number."""
        found = {"accuracy": checked_accuracy(metrics)}
        if "score" in metrics:
            found["score"] = checked_share(metrics, "score")
        for name in self.metrics:
            if name in found or name in computed:
                continue
            value = metrics.get(name)
            if not is_number(value) or not math.isfinite(value):
                raise BadMetrics(f"metrics.{name}: expected a finite number, got {value!r}")
            found[name] = float(value)
        return found

    def tightened(self, bounds: Mapping[str, float]) -> Objectives:
        """With further bounds {metric: value}, each on its metric's better side; the tighter of two counts."""
        upper_bounds, lower_bounds = dict(self.upper_bounds), dict(self.lower_bounds)
        for name, value in bounds.items():
            if self.direction(name) == "min":
                upper_bounds[name] = min(value, upper_bounds.get(name, math.inf))
            else:
                lower_bounds[name] = max(value, lower_bounds.get(name, -math.inf))
        return Objectives(
            self.weights, upper_bounds, lower_bounds, {n: self.direction(n) for n in (*self.metrics, *bounds)}
        )

    def get_config(self) -> dict:
        """Plain JSON, by the configuration's keys, that tells one set of objectives from another."""
        return {
            "weights": self.weights,
            "upper_bounds": self.upper_bounds,
            "lower_bounds": self.lower_bounds,
            "directions": {name: self.direction(name) for name in self.metrics},
        }


class CostModel:
    """Metrics of genomes that need no evaluation: costs, and a table's predictions."""

    def __init__(self, costs: CostTable, table: MetricTable | None = None):
        if table is not None:
            clash = set(table.names) & {*costs.names, "accuracy"}
            if clash:
                raise InputError(f"{table.source}: metrics: expected none that is counted, got {sorted(clash)}")
        self.costs, self.table = costs, table
        self.names = (*costs.names, *(table.names if table else ()))

    @property
    def fingerprint(self) -> str | None:
        """Names the table; None without one."""
        return self.table.fingerprint if self.table else None

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """{name: (least, greatest)} in the space."""
        return {**self.costs.bounds, **(self.table.bounds if self.table else {})}

    def of(self, genomes) -> dict[str, np.ndarray]:
        """{name: [N]} of genomes [N, num_layers]."""
        return {**self.costs.sums(genomes), **(self.table.sums(genomes) if self.table else {})}

    def of_one(self, genome: Sequence[int]) -> dict[str, int | float]:
        """{name: number} of one genome."""
        if self.table is None:
            return dict(zip(self.costs.names, self.costs.count_one(genome), strict=True))
        return {name: values[0].item() for name, values in self.of(np.array([genome])).items()}

    def expected(self, name: str, probabilities) -> tuple[float, np.ndarray]:
        """(mean, gradient) of one figure where layers draw choices independently, see SumTable.expected."""
        return self._table_of(name).expected(probabilities)[name]

    def parts(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Contributions of choices and ends to one figure, see SumTable.figure; the rows are those of `costs`."""
        return self._table_of(name).figure(name)

    def _table_of(self, name: str) -> CostTable | MetricTable:
        if name in self.costs.names or self.table is None:
            return self.costs
        return self.table

    def complete(self, genomes, evaluated: Sequence[Mapping | None]) -> list[dict | None]:
        """All metrics of genomes [N, num_layers], those that took an evaluation and those that did not; None: it failed."""
        known = self.of(genomes)
        return [
            None if found is None else {**found, **{name: values[i].item() for name, values in known.items()}}
            for i, found in enumerate(evaluated)
        ]

    def reach(self, names: Sequence[str]) -> str:
        """Ranges of some metrics in the space, in words."""
        bounds = {name: self.bounds[name] for name in names}
        bands = [
            f"{name} from {bound_text(name, low)} to {bound_text(name, high)}" for name, (low, high) in bounds.items()
        ]
        return f"space {self.costs.space.name!r} reaches {', '.join(bands)} at {self.costs.input_size} pixels"


def make_objectives(
    weights, max_multiply_adds, min_accuracy, upper_bounds=None, lower_bounds=None, directions=None
) -> Objectives:
    """Objectives in which the two usual bounds are arguments of their own; InputError where one is given twice."""
    upper, lower = _checked_bounds("upper_bounds", upper_bounds), _checked_bounds("lower_bounds", lower_bounds)
    for name, bounds, kind, value, key in (
        ("multiply_adds", upper, "upper_bounds", max_multiply_adds, "max_multiply_adds"),
        ("accuracy", lower, "lower_bounds", min_accuracy, "min_accuracy"),
    ):
        if value is None:
            continue
        if name in bounds:
            raise InputError(f"{kind}.{name}: expected none beside {key}: {value:g}, got {bounds[name]:g}")
        bounds[name] = float(value)
    return Objectives(weights, upper, lower, directions)


def cost_model_and_objectives(
    costs: CostTable,
    max_multiply_adds: float | None,
    min_accuracy: float | None,
    weights: Mapping[str, float] | Sequence[float] = tuple(PUBLISHED_WEIGHTS.values()),
    upper_bounds: Mapping[str, float] | None = None,
    lower_bounds: Mapping[str, float] | None = None,
    directions: Mapping[str, str] | None = None,
    table: MetricTable | None = None,
) -> tuple[CostModel, Objectives]:
    """Common parts of all searches; InputError for bad bounds, or bounds that no network of the space keeps."""
    cost_model = CostModel(costs, table)
    objectives = make_objectives(weights, max_multiply_adds, min_accuracy, upper_bounds, lower_bounds, directions)
    idle = set(directions or {}) - set(objectives.metrics)
    if idle:
        raise InputError(f"search.directions.{min(idle)}: expected a metric with a weight or a bound")
    check_feasible(cost_model, objectives)
    return cost_model, objectives


def key_of(bound: str, name: str) -> str:
    """The configuration's key of a bound ("upper_bounds" or "lower_bounds") on a metric."""
    return f"search.{bound}.{name}"


def check_known(cost_model: CostModel, objectives: Objectives) -> None:
    """InputError for an objective or bound that neither costs, nor a table, nor the default Evaluator give."""
    unknown = set(objectives.metrics) - {"accuracy", *cost_model.names}
    if unknown:
        raise InputError(
            f"search: nothing gives {', '.join(sorted(unknown))}; expected some of accuracy, {', '.join(cost_model.names)}, or a"
            " table with it as search.table"
        )


def check_feasible(cost_model: CostModel, objectives: Objectives) -> None:
    """InputError, with what the space can reach, for a bound on a computed metric that no network keeps."""
    for bound, wanted in (("upper_bounds", objectives.upper_bounds), ("lower_bounds", objectives.lower_bounds)):
        for name, value in wanted.items():
            if name not in cost_model.names:
                continue
            low, high = cost_model.bounds[name]
            if bound == "upper_bounds" and low >= value:
                raise InputError(
                    f"{key_of(bound, name)}: no network of the space has less than {bound_text(name, value)}; "
                    f"{cost_model.reach([name])}"
                )
            if bound == "lower_bounds" and high <= value:
                raise InputError(
                    f"{key_of(bound, name)}: no network of the space has more than {bound_text(name, value)}; "
                    f"{cost_model.reach([name])}"
                )


def _excess(value: float, bound: float) -> float:
    """0 below `bound`, else how far it is missed, as a number above 0 and below 1."""
    if value < bound:
        return 0.0
    # The bound itself is not enough, hence the tiny number.
    share = (value - bound) / max(abs(bound), 1e-9)
    return max(share / (1 + share), float(np.finfo(float).tiny))


def _checked_weights(weights) -> dict[str, float]:
    if not isinstance(weights, Mapping):
        if not are_weights(weights) or len(weights) != len(PUBLISHED_WEIGHTS):
            raise InputError(
                "search.weights: expected a mapping of metrics to numbers >= 0, or three numbers >= 0, not all 0, for"
                f" accuracy, multiply-adds and params, got {weights!r}"
            )
        weights = dict(zip(PUBLISHED_WEIGHTS, weights, strict=True))
    if "accuracy" not in weights or not are_weights(list(weights.values())):
        raise InputError(
            f"search.weights: expected numbers >= 0, not all 0, accuracy's among them, got {dict(weights)!r}"
        )
    if len(weights) < 2:
        raise InputError(f"search.weights: expected at least two metrics, got {list(weights)}")
    return {str(name): float(weight) for name, weight in weights.items()}


def _checked_bounds(key: str, bounds) -> dict[str, float]:
    bounds = {} if bounds is None else bounds
    if not isinstance(bounds, Mapping):
        raise InputError(f"search.{key}: expected a mapping of metrics to numbers, got {bounds!r}")
    for name, value in bounds.items():
        if not is_number(value) or not math.isfinite(value):
            raise InputError(f"{key_of(key, name)}: expected a finite number, got {value!r}")
    return {str(name): float(value) for name, value in bounds.items()}


def _checked_directions(directions) -> dict[str, str]:
    directions = {} if directions is None else directions
    if not isinstance(directions, Mapping):
        raise InputError(f"search.directions: expected a mapping of metrics to min or max, got {directions!r}")
    for name, value in directions.items():
        if value not in ("min", "max"):
            raise InputError(f"search.directions.{name}: expected min or max, got {value!r}")
        if name == "accuracy" and value != "max":
            raise InputError(f"search.directions.accuracy: expected max, got {value!r}")
    return dict(directions)


def score_of(metrics: Mapping) -> float:
    """Value that networks are compared by, 0 to 1, more is better: the score of an evaluation, else its accuracy."""
    return metrics.get("score", metrics["accuracy"])


def checked_accuracy(metrics: Mapping) -> float:
    """The accuracy among an evaluation's metrics; BadMetrics unless it is there and, as a score beside it, from 0 to 1."""
    if "score" in metrics:
        checked_share(metrics, "score")
    return checked_share(metrics, "accuracy")


def checked_share(metrics: Mapping, name: str) -> float:
    """One of an evaluation's metrics; BadMetrics unless it is there and a number from 0 to 1."""
    if name not in metrics:
        raise BadMetrics(f"metrics.{name}: missing; got {sorted(metrics)}")
    try:
        value = float(metrics[name])
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        raise BadMetrics(f"metrics.{name}: expected a number from 0 to 1, got {metrics[name]!r}")
    return value


def is_number(value) -> TypeGuard[float]:
    """True for a real number, infinity included; False for NaN and truth values."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and not math.isnan(value)


def are_weights(weights) -> bool:
    """True for a sequence of finite numbers >= 0 that are not all 0."""
    if not isinstance(weights, Sequence) or isinstance(weights, str):
        return False
    return all(is_number(w) and 0 <= w < math.inf for w in weights) and sum(weights) > 0
