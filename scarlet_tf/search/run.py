"""The search stage: from a trained supernet to a Pareto front and the models picked from it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from scarlet_tf.base import files
from scarlet_tf.base.cluster import search_role
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import as_settings
from scarlet_tf.search.algorithm import Algorithm, RandomSearch
from scarlet_tf.search.config import KERAS_TUNER, SearchConfig, evaluator_grouping, evaluator_options, side_of
from scarlet_tf.search.front import Candidate, Picks, best_of, pick_models
from scarlet_tf.search.mutation import Mutation
from scarlet_tf.search.nsga2 import WeightedNSGA2
from scarlet_tf.search.objectives import is_number
from scarlet_tf.space.cost import CostTable, cost_table
from scarlet_tf.space.search_space import Architecture, SearchSpace

if TYPE_CHECKING:
    from scarlet_tf.search.oracle import ArchitectureOracle

logger = logging.getLogger("scarlet_tf")
PARETO_VERSION = 1


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
        """The network of the best score within every bound, of equals the one of fewest multiply-adds; see best_of."""
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
    costs: CostTable | None = None,
    mutation: Mutation | None = None,
    max_hours: float | None = None,
    finish: Callable[[SearchResult], SearchResult] | None = None,
) -> SearchResult | Any:  # None on a worker: typed so that nobody else has to ask for it
    """Search `supernet` and write `run_dir`/pareto.json; a search that was interrupted resumes where it stopped.

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
        costs: of the networks searched, in place of these two, where they have other widths than the supernet.
        mutation: stands in for the one that `config.mutation` describes.
        max_hours: the search ends within this time, after the group of models that is being measured, with the best so
            far; a later call resumes. 0 takes what was evaluated before.
        finish: makes of the result what is written and returned.

    Raises InputError for settings out of range, for a budget that the space cannot meet, for a journal of another
    search, and when no model exceeds the lower bound on accuracy.
    """
    from scarlet_tf.search.oracle import ArchitectureOracle  # imports TensorFlow, which configs do without
    from scarlet_tf.search.tuner import SupernetTuner

    config = as_settings(SearchConfig, config)
    # What a model scores depends on these too, so a journal belongs to them.
    options = evaluator_options(config)
    costs = costs or cost_table(supernet.space, input_size or side_of(supernet), num_classes or supernet.num_classes)
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


def _result(oracle: ArchitectureOracle, picks: Picks) -> SearchResult:
    front, objectives = oracle.pareto_front(), oracle.algorithm.objectives
    if not front:
        evaluated = oracle.evaluated()
        best = f"the best of {len(evaluated)} has {max(c.accuracy for c in evaluated):.4f}" if evaluated else "none was"
        raise InputError(f"{objectives.evaluated_bounds(oracle.algorithm.cost_model.names)}; {best}")
    evaluated = oracle.evaluated()
    picked = pick_models(front, evaluated, objectives, picks)
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


def new_algorithm(config: SearchConfig, costs: CostTable, mutation: Mutation | None = None) -> Algorithm:
    """The algorithm that `config` describes, at its start; `mutation` stands in for the one that it describes.

    Raises InputError for a budget that no network of the space meets, and for betanas, which does not search.
    """
    if config.is_betanas:
        raise InputError(
            "search.algorithm: expected one that searches a trained supernet, got 'betanas', which decides while the supernet is"
            " trained; see train_betanas, or scarlet run"
        )
    if config.algorithm == "nsga2":
        mutation = config.mutation.build(costs.space, config.seed) if mutation is None else mutation
        return WeightedNSGA2(
            costs,
            mutation=mutation,
            ahead=config.ahead,
            **_common(config),
            **config.objective_settings(costs),
        )
    if config.algorithm == "random":
        return RandomSearch(costs, **_common(config), **config.objective_settings(costs))
    return _of_keras_tuner(config, costs)


def _common(config: SearchConfig) -> dict:
    names = ("population_size", "generations", "seed")
    return {name: getattr(config, name) for name in names}


def _of_keras_tuner(config: SearchConfig, costs: CostTable) -> Algorithm:
    # These import Keras, which NSGA-II does without.
    import keras_tuner

    from scarlet_tf.search.keras_tuner_search import KerasTunerSearch
    from scarlet_tf.search.trials import TrialMaker

    oracle = getattr(keras_tuner.oracles, KERAS_TUNER[config.algorithm])(
        objective=keras_tuner.Objective("accuracy", "max"),
        max_trials=None,
        hyperparameters=TrialMaker(costs.space).hyperparameters,
        seed=config.seed + 1,  # for 0 KerasTuner draws one
    )
    evaluations = config.population_size * config.generations
    return KerasTunerSearch(costs, oracle, evaluations, **config.objective_settings(costs))
