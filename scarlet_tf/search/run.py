"""The search stage: from a trained supernet to a Pareto front and the models picked from it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from scarlet_tf import files
from scarlet_tf.cluster import search_role
from scarlet_tf.cost import CostTable, cost_table
from scarlet_tf.errors import InputError
from scarlet_tf.metric_table import MetricTable
from scarlet_tf.search.algorithms import new_algorithm
from scarlet_tf.search.betanas_config import BetaNASConfig
from scarlet_tf.search.checks import is_number
from scarlet_tf.search.front import Candidate, Picks, best_of, check_picks, pick_models
from scarlet_tf.search.mutation import Mutation
from scarlet_tf.search.mutation_config import MutationConfig
from scarlet_tf.search.objectives import Objectives
from scarlet_tf.settings import Count, Lax, Positive, Whole, as_settings, validated
from scarlet_tf.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from scarlet_tf.search.oracle import ArchitectureOracle

logger = logging.getLogger("scarlet_tf")
PARETO_VERSION = 1


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
        picks: how many models are picked from the front, equispaced along it; or {name: {metric: bound}} and {name: "choices"},
            see pick_models. The best one is available without being picked.
        recalibration_batches: training batches for BN recalibration of each path; 0 evaluates with running statistics.
        validation_batch_size: images a batch, in evaluation and recalibration.
        evaluation_group: the most models evaluated together, and so the most that an interruption loses.
        evaluation_memory_mib: what such a group may take; see Evaluator. No result depends on these two.
        stale_trial_minutes: with several workers, a model that one of them has not answered for in this time is given to
            another one, too; null: never.
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
    seed: Whole = 0
    recalibration_batches: Whole = 20
    validation_batch_size: Count = 128
    evaluation_group: Count = 70
    evaluation_memory_mib: Count = 1024
    stale_trial_minutes: Positive | None = None

    def __post_init__(self):
        self.objectives()
        check_picks(self.picks)
        self._check_betanas()

    @property
    def is_betanas(self) -> bool:
        """True if the networks come from the supernet's training."""
        return self.algorithm == "betanas"

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


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    pareto: the non-dominated among all evaluated architectures, by rising multiply-adds.
    picks: those picked from it, in the order of `names`, which `retrain.pick` takes.
    hypervolume: one value a tell, 0..1 of a box fixed by the space and the bounds; of NSGA-II's first front, or of all that a
        baseline was told.
    stopped: whether `max_hours` ended the search before its last generation.
    evaluations: individuals scored; an architecture that came again was scored without being evaluated again.
    evaluated: every architecture that was evaluated, in the order of evaluation.
    details: further keys of pareto.json, plain JSON: the space, the search's settings, versions, what became of each operator.
    """

    FILE: ClassVar[str] = "pareto.json"

    pareto: list[Candidate]
    picks: list[Candidate]
    names: list[str]
    hypervolume: list[float]
    evaluations: int
    stopped: bool = False
    evaluated: list[Candidate] = dataclasses.field(default_factory=list)
    details: dict = dataclasses.field(default_factory=dict)

    @property
    def best(self) -> Candidate:
        """The most accurate network within every bound, of equals the one of fewest multiply-adds; see best_of."""
        return best_of(self.pareto)

    def to_dict(self) -> dict[str, Any]:
        """The content of pareto.json, in plain JSON types."""
        found = {key: getattr(self, key) for key in ("evaluations", "stopped", "hypervolume")}
        picks = [{"name": name, **c.to_dict()} for name, c in zip(self.names, self.picks, strict=True)]
        return {**self.details, **found, "picks": picks, "pareto": [candidate.to_dict() for candidate in self.pareto]}


def search(
    supernet,
    validation_data,
    config: SearchConfig | Mapping | None = None,
    run_dir=".",
    recalibration_data=None,
    evaluator=None,
    context: Mapping | str | None = None,
    input_size: int | None = None,
    num_classes: int | None = None,
    mutation: Mutation | None = None,
    max_hours: float | None = None,
    finish: Callable[[SearchResult], SearchResult] | None = None,
) -> SearchResult | Any:  # None on a worker: typed so that nobody else has to ask for it
    """Searches `supernet` and writes `run_dir`/pareto.json; a search that was interrupted goes on where it stopped.

    With KerasTuner's variables for several processes set (see SupernetTuner), the chief does that and lets workers
    evaluate; a worker writes nothing and returns None.

    Args:
        supernet: a trained Supernet.
        validation_data: batches of (images [B, H, W, C], labels [B]).
        config: a SearchConfig or a mapping with its keys.
        run_dir: the run folder; the search keeps its journal in `run_dir`/search.
        recalibration_data: batches of training images for BN recalibration.
        evaluator: stands in for the default Evaluator; see SupernetTuner.
        context: plain JSON that names what is searched, such as the checkpoint's hash; a journal that was written
            under another context is refused.
        input_size, num_classes: what costs are counted at; the supernet's own by default.
        mutation: stands in for the one that `config.mutation` describes.
        max_hours: the search ends within this time, behind the group of models that is being measured, with the best so
            far; a later call goes on. 0 takes what was evaluated before.
        finish: makes of the result what is written and returned.

    Raises InputError for settings out of range, for a budget that the space cannot meet, for a journal of another
    search, and when no model exceeds the lower bound on accuracy.
    """
    from scarlet_tf.search.oracle import ArchitectureOracle  # imports TensorFlow, which configs do without
    from scarlet_tf.search.tuner import SupernetTuner

    config = as_settings(SearchConfig, config)
    # What a model scores depends on these too, so a journal belongs to them.
    options = evaluator_options(config)
    costs = cost_table(supernet.space, input_size or side_of(supernet), num_classes or supernet.num_classes)
    oracle = ArchitectureOracle(
        new_algorithm(config, costs, mutation),
        seed=config.seed,
        context={"caller": context, **options},
        stale_trial_seconds=None if config.stale_trial_minutes is None else 60 * config.stale_trial_minutes,
    )
    tuner = SupernetTuner(
        oracle,
        supernet,
        directory=run_dir,
        project_name="search",
        evaluator=evaluator,
        recalibration_data=recalibration_data,
        evaluator_options={**options, **evaluator_grouping(config)},
    )
    tuner.search(validation_data, max_hours=max_hours)
    if search_role() == "worker":
        return None
    result = _result(oracle, config.picks)
    if finish is not None:
        result = finish(result)
    return write_front(run_dir, result, front_head(oracle.costs, oracle.fingerprint(), oracle.operator_statistics()))


def evaluator_grouping(config: SearchConfig) -> dict:
    """Number of models that the default Evaluator measures together; no result depends on it."""
    return {"group_size": config.evaluation_group, "memory_mib": config.evaluation_memory_mib}


def evaluator_options(config: SearchConfig) -> dict:
    """Settings of the default Evaluator, in plain JSON types; results depend on them."""
    return {
        "recalibration_batches": config.recalibration_batches,
        "batch_size": config.validation_batch_size,
        "seed": config.seed,
    }


def side_of(supernet) -> int:
    """Pixels of a side of the supernet's images; InputError where they are not square."""
    height, width = supernet.image_shape[:2]
    if height != width:
        raise InputError(
            f"supernet.image_shape: expected square images to count costs at, got {tuple(supernet.image_shape)}"
        )
    return height


def _result(oracle: ArchitectureOracle, picks: Picks) -> SearchResult:
    front, goals = oracle.pareto_front(), oracle.algorithm.goals
    if not front:
        evaluated = oracle.evaluated()
        best = f"the best of {len(evaluated)} has {max(c.accuracy for c in evaluated):.4f}" if evaluated else "none was"
        raise InputError(f"{goals.evaluated_bounds(oracle.algorithm.figures.names)}; {best}")
    evaluated = oracle.evaluated()
    picked = pick_models(front, evaluated, goals, picks)
    found = (oracle.hypervolume, oracle.evaluations, oracle.stopped, evaluated)
    return SearchResult(front, list(picked.values()), list(picked), *found)


def front_head(costs: CostTable, search: Mapping, operators: Mapping) -> dict:
    """Head of pareto.json: the models' origin and the settings that they were found with."""
    return {
        "version": PARETO_VERSION,
        "space": costs.space.name,
        "space_fingerprint": costs.space.fingerprint,
        "input_size": costs.input_size,
        "num_classes": costs.num_classes,
        "operators": dict(operators),
        "search": dict(search),
        "versions": {name: importlib.metadata.version(name) for name in ("scarlet_tf", "tensorflow", "keras", "pymoo")},
    }


def write_front(run_dir, result: SearchResult, head: Mapping) -> SearchResult:
    """Write `run_dir`/pareto.json, one line a model, for people who read it and tools that compare it; return what it states.

    head: of `front_head`, which becomes part of the result's details.
    """
    result = dataclasses.replace(result, details={**head, **result.details})
    parts = []
    for key, value in result.to_dict().items():
        text = json.dumps(value)
        if key in ("picks", "pareto"):
            lines = ",\n  ".join(json.dumps(row) for row in value)
            text = f"[\n  {lines}\n ]"
        parts.append(f'"{key}": {text}')
    files.write_text(
        pathlib.Path(run_dir) / SearchResult.FILE, files.with_digest("{\n " + ",\n ".join(parts) + "\n}\n")
    )
    return result


def read_front(run_dir, space: SearchSpace) -> SearchResult:
    """The result that `write_front` wrote, without the other evaluated models; InputError for a damaged or another file."""
    path = pathlib.Path(run_dir) / SearchResult.FILE
    return front_from(files.read_json(path), space, path)


def front_from(found: Any, space: SearchSpace, path="pareto.json") -> SearchResult:
    """The result that has this content of pareto.json; InputError names `path` if it is another one."""
    front, picks = (_candidates(path, found, key, space) for key in ("pareto", "picks"))
    return SearchResult(
        pareto=front,
        picks=picks,
        names=[str(row.get("name")) for row in found["picks"]],
        hypervolume=found.get("hypervolume", []),
        evaluations=found.get("evaluations", 0),
        stopped=found.get("stopped", False),
        details={key: value for key, value in found.items() if key not in _KEYS},
    )


_KEYS = ("pareto", "picks", "hypervolume", "evaluations", "stopped")


def _candidates(path: Any, found: Any, key: str, space: SearchSpace) -> list[Candidate]:
    rows: Any = found.get(key) if isinstance(found, Mapping) else None
    models = []
    for row in rows if isinstance(rows, list) else [rows]:
        known = row if isinstance(row, dict) else {}
        metrics = {name: value for name, value in known.items() if name not in ("architecture", "name")}
        costs = (metrics.get("accuracy"), metrics.get("multiply_adds"))
        if not isinstance(known.get("architecture"), str) or not all(map(is_number, costs)):
            raise InputError(
                f"{path}: {key}: expected networks with architecture, accuracy and multiply_adds, got {row!r};"
                " remove the file and run scarlet search again"
            )
        architecture = Architecture.parse(known["architecture"], space)
        models.append(Candidate.of(architecture, {"params": 0, **metrics}, metrics))
    return models
