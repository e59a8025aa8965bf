"""Settings of a search, and the algorithm that they describe. Imports no framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import BelowOne, Count, Lax, NonNegative, Positive, Share, Text, Whole, validated
from scarlet_tf.search.controller import ControllerMutation, PPOConfig
from scarlet_tf.search.front import check_picks
from scarlet_tf.search.mutation import (
    HierarchicalMutation,
    Mutation,
    PriorRegulator,
    RandomMutation,
    RouletteMutation,
    UniformMutation,
)
from scarlet_tf.search.objectives import Objectives
from scarlet_tf.space.cost import CostTable
from scarlet_tf.space.metric_table import MetricTable
from scarlet_tf.space.search_space import SearchSpace

SIZE_GENERATIONS = 3
"""Generations of the search at each of `input_sizes`; that at the best one begins again, and has `generations`."""
KERAS_TUNER = {
    "keras_tuner_random": "RandomSearchOracle",
    "keras_tuner_bayesian": "BayesianOptimizationOracle",
}


@validated("search.mutation")
@dataclasses.dataclass(frozen=True)
class MutationConfig:
    """Mutation of crossover's children; the probabilities are the published ones [v2].

    Args:
        kind: "hierarchical", or "uniform", which redraws one gene and needs the ratio alone.
        ratio: probability that a child mutates.
        random, reinforced, prior: shares of the three kinds of mutation, p_rm, p_re and p_pr.
        controller, roulette: shares of the two kinds of reinforced mutation, p_M and p_K-M.
        ppo: the controller's settings.

    A share of 0 switches a part off; what is left of a group is scaled to a sum of 1.
    """

    kind: Literal["hierarchical", "uniform"] = "hierarchical"
    ratio: Share = 0.8
    random: Share = 0.2
    reinforced: Share = 0.65
    prior: Share = 0.15
    controller: Share = 0.7
    roulette: Share = 0.3
    ppo: Annotated[PPOConfig, Lax()] = dataclasses.field(default_factory=PPOConfig)

    def __post_init__(self):
        if self.kind == "hierarchical" and self.ratio > 0:
            self._check_groups()

    def probabilities(self) -> dict[str, float]:
        """Probability of each operator that is switched on, given that a child mutates; they add up to 1."""
        kinds = _scaled({"random": self.random, "reinforced": self.reinforced, "prior": self.prior})
        reinforced = kinds.pop("reinforced", 0.0)
        inner = _scaled({"controller": self.controller, "roulette": self.roulette}) if reinforced else {}
        return kinds | {name: reinforced * share for name, share in inner.items()}

    def build(self, space: SearchSpace, seed: int) -> Mutation:
        """The mutation for searches of `space`; `seed` is that of the controller's first weights."""
        if self.kind == "uniform":
            return UniformMutation(self.ratio)
        operators = {
            name: (probability, self._operator(name, space, seed)) for name, probability in self.probabilities().items()
        }
        return HierarchicalMutation(operators, self.ratio)

    def _operator(self, name: str, space: SearchSpace, seed: int):
        if name == "controller":
            return ControllerMutation(space, self.ppo, seed)
        return {"random": RandomMutation, "roulette": RouletteMutation, "prior": PriorRegulator}[name]()

    def _check_groups(self) -> None:
        if not (self.random or self.reinforced or self.prior):
            raise InputError("search.mutation: expected random, reinforced or prior above 0, got 0 for each")
        if self.reinforced and not (self.controller or self.roulette):
            raise InputError(
                "search.mutation: expected controller or roulette above 0, got 0 for both; reinforced: 0 does without"
            )


@validated("search.betanas")
@dataclasses.dataclass(frozen=True)
class BetaNASConfig:
    """BetaNAS: balanced training of the weights, training of the importances alpha, and selective drop.

    Adam and its learning rate, uniform sampling, the joint loss and equation 4 are published; steps per phase, the cost's
    weight and the threshold are not, so all other defaults are readings.

    Args:
        warmup: share of all steps in which weights alone are trained.
        weight_steps, importance_steps: steps of the two phases, which alternate after the warm-up.
        sampling: how the phase of the weights draws a layer's choice: "balanced", uniformly among those that remain, or
            "importances", with the probabilities softmax(alpha), as gradient-driven methods do.
        learning_rate: Adam's, for alpha.
        cost: the figure in the joint loss: multiply_adds, params, or one of search.table, such as latency_ms.
        cost_weight: beta; the loss is cross-entropy + beta * (mean cost under the probabilities) / cost_reference.
        cost_reference: cost of a reference network; null: the space's mean, which the mean cost is at the start.
        drop: whether choices are dropped.
        drop_margin: a choice is dropped whose alpha is below the mean of its layer's remaining ones by more than this.
        drop_below: th_alpha: a choice is dropped whose alpha is below this; null: only the margin counts.
        drop_checks: how often that is looked at, at equal distances after the warm-up.
        drops_per_check: the most that a layer loses at once, the least important first. One choice always remains, and so do
            enough of them for a network within the search's bounds.
    """

    warmup: BelowOne = 0.25
    weight_steps: Count = 1
    importance_steps: Count = 1
    sampling: Literal["balanced", "importances"] = "balanced"
    learning_rate: Positive = 1e-3
    cost: Text = "multiply_adds"
    cost_weight: NonNegative = 0.02
    cost_reference: Positive | None = None
    drop: bool = True
    drop_margin: NonNegative = 0.2
    drop_below: float | None = None
    drop_checks: Count = 20
    drops_per_check: Count = 1


@validated("search")
@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Settings of the search; the defaults are the published ones where there are any.

    Args:
        algorithm: nsga2; or betanas, which trains importances beside the supernet's weights instead of searching afterwards, see
            BetaNASConfig; or a baseline: random (uniform draws), keras_tuner_random or keras_tuner_bayesian (KerasTuner's
            oracles for accuracy alone, see KerasTunerSearch; the latter takes longer the more trials there were).
        population_size, generations: N and the number of generations; N * generations evaluations in all.
        weights: in the crowding distance, {metric: weight} or three numbers for accuracy, multiply-adds and params; the metrics
            are the objectives.
        upper_bounds, lower_bounds: {metric: value} that every candidate stays below, or exceeds, multiply-adds counted at the
            supernet's input size, and accuracy the one-shot one from 0 to 1; see Objectives.
        directions: {metric: min | max}, where another one than Objectives' is wanted.
        table: JSON file with further metrics of the space's blocks, such as latency, see MetricTable; in a configuration
            relative to its file.
        mutation: how children of crossover are changed; see MutationConfig.
        betanas: how importances are trained where the algorithm is betanas; see BetaNASConfig.
        finalists: how many models of the front `scarlet search` measures whole where `table` predicts latency; the predictions of
            all are corrected by them before the front is written. 0: none.
        input_sizes: sides of the image in pixels that are tried. Each is searched for a few generations; the one with the most
            accurate network is searched to the end, and the network found takes such images. Empty: `data.image_size` alone.
        picks: how many models are picked from the front, equispaced along it; or {name: {metric: bound}} and {name: "choices"},
            see pick_models. The best one is available without being picked.
        recalibration_batches: training batches for BN recalibration of each path; 0 evaluates with running statistics.
        probe_batches: training batches that a classifier of its own is fitted to for each path, see Evaluator; 0 scores with the
            supernet's. By default 8 with a parent, else 0.
        score: what paths are compared by, on validation images: loss, or accuracy, which takes many more images to tell two paths
            apart, see Evaluator; or predictor, what a model of loss, depth, cost and choices expects that was fitted to networks
            trained on their own first, as `ranking` says, see PredictedScores; with `supernet.epochs: 0` there is no
            supernet, and no loss. Accuracy is what is shown and what bounds are on. By default accuracy with a parent, else
            loss.
        depth_weight: with the score loss: what a skipped layer adds to it, in standard deviations; see Evaluator. 0: nothing.
        halving_loss: what is taken off a path's score for each halving of its multiply-adds below their upper bound, see
            Evaluator; nothing without such a bound. By default 0.035 with a parent, as measured (docs/results.md), else 0.
        validation_batch_size: images a batch, in evaluation, recalibration and probe.
        evaluation_group: the most models evaluated together, and so the most that an interruption loses.
        evaluation_memory_mib: what such a group may take; see Evaluator. No result depends on these two.
        stale_trial_minutes: with several workers, the models that one of them measures together are given to others, too, when it
            has not answered for any of them in this time; null: in ten times what the slowest so far took, by their
            number, and in ten minutes at least.
        ahead: a generation is bred while so many before it are still evaluated, so that many workers need not wait for the last
            network of each; nsga2 alone. The front is another one for each number, but the same for however many workers.
        seed: of every draw; by default the configuration's.
    """

    algorithm: Literal["nsga2", "random", "keras_tuner_random", "keras_tuner_bayesian", "betanas"] = "nsga2"
    population_size: Annotated[int, Ge(2)] = 70
    generations: Annotated[int, Ge(2)] = 120
    weights: dict[str, float] | Annotated[tuple[float, ...], Lax()] = (0.4, 0.4, 0.2)
    upper_bounds: dict[str, float] = dataclasses.field(default_factory=lambda: {"multiply_adds": 500e6})
    lower_bounds: dict[str, float] = dataclasses.field(default_factory=dict)
    directions: dict[str, Literal["min", "max"]] = dataclasses.field(default_factory=dict)
    table: str | None = None
    finalists: Whole = 8
    mutation: Annotated[MutationConfig, Lax()] = dataclasses.field(default_factory=MutationConfig)
    betanas: Annotated[BetaNASConfig, Lax()] = dataclasses.field(default_factory=BetaNASConfig)
    picks: Count | dict[str, str | dict[str, float]] = 3
    input_sizes: Annotated[tuple[Annotated[int, Ge(8)], ...], Lax()] = ()
    seed: Whole = 0
    recalibration_batches: Whole = 20
    probe_batches: Whole = 0
    score: Literal["loss", "accuracy", "predictor"] = "loss"
    depth_weight: NonNegative = 0.5
    halving_loss: Share = 0.0
    validation_batch_size: Count = 128
    evaluation_group: Count = 70
    evaluation_memory_mib: Count = 1024
    stale_trial_minutes: Positive | None = None
    ahead: Whole = 0

    def __post_init__(self):
        self.objectives()
        check_picks(self.picks)
        self._check_sizes()
        self._check_betanas()
        if self.ahead and self.algorithm != "nsga2":
            raise InputError(f"search.ahead: expected 0 with the algorithm {self.algorithm}, got {self.ahead}")

    @property
    def is_betanas(self) -> bool:
        """True if the networks come from the supernet's training."""
        return self.algorithm == "betanas"

    def _check_sizes(self) -> None:
        if len(set(self.input_sizes)) < len(self.input_sizes):
            raise InputError(f"search.input_sizes: expected different ones, got {list(self.input_sizes)}")
        reasons = {"search.table, which is for one size": self.table, "betanas, which does not search": self.is_betanas}
        for reason, is_there in reasons.items():
            if self.input_sizes and is_there:
                raise InputError(f"search.input_sizes: expected none with {reason}, got {list(self.input_sizes)}")

    def _check_betanas(self) -> None:
        """Accuracies are not known where BetaNAS decides."""
        if not self.is_betanas:
            return
        kinds = {"upper_bounds": self.upper_bounds, "lower_bounds": self.lower_bounds}
        bounds = {f"{kind}.accuracy": found.get("accuracy") for kind, found in kinds.items()}
        if isinstance(self.picks, Mapping):
            bounds |= {
                f"picks.{k}.accuracy": v.get("accuracy") for k, v in self.picks.items() if isinstance(v, Mapping)
            }
        for key, value in bounds.items():
            if value is not None:
                raise InputError(
                    f"search.{key}: expected none with betanas, which decides by importances, got {value!r}"
                )

    @property
    def budget(self) -> float | None:
        """The upper bound on multiply-adds, None without one."""
        return self.upper_bounds.get("multiply_adds")

    def objectives(self) -> Objectives:
        """Objectives of the search, and its bounds."""
        return Objectives(self.weights, self.upper_bounds, self.lower_bounds, self.directions)

    def objective_settings(self, costs: CostTable) -> dict:
        """Arguments of every algorithm beside its own settings; reads the file that `table` names."""
        names = ("weights", "upper_bounds", "lower_bounds", "directions")
        path, place = self.table, (costs.space, costs.input_size, costs.num_classes)
        table = None if path is None else MetricTable.load(path, *place)
        own = {name: getattr(self, name) for name in names}
        return {**own, "max_multiply_adds": None, "min_accuracy": None, "table": table}


def evaluator_grouping(config: SearchConfig) -> dict:
    """Number of models that the default Evaluator measures together; no result depends on it."""
    return {"group_size": config.evaluation_group, "memory_mib": config.evaluation_memory_mib}


def evaluator_options(config: SearchConfig) -> dict:
    """Settings of the default Evaluator, in plain JSON types; results depend on them."""
    options: dict[str, Any] = {
        "recalibration_batches": config.recalibration_batches,
        "batch_size": config.validation_batch_size,
        "seed": config.seed,
        "score": "loss" if config.score == "predictor" else config.score,
    }
    if config.depth_weight and config.score == "loss":
        options["depth_weight"] = config.depth_weight
    if config.probe_batches:
        options["probe_batches"] = config.probe_batches
    if config.halving_loss and config.budget:
        options |= {"halving_loss": config.halving_loss, "budget": config.budget}
    return options


def side_of(supernet) -> int:
    """Pixels of a side of the supernet's images; InputError where they are not square."""
    height, width = supernet.image_shape[:2]
    if height != width:
        raise InputError(
            f"supernet.image_shape: expected square images to count costs at, got {tuple(supernet.image_shape)}"
        )
    return height


def _scaled(shares: Mapping[str, float]) -> dict[str, float]:
    """Probabilities above 0, scaled to a sum of 1."""
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items() if share > 0}
