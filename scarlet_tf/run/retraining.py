"""The stages that train one network: the searched one, from scratch or from the supernet's weights, or a trained one further."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scarlet_tf.base.cluster import read_tf_config
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import atomic_writer
from scarlet_tf.base.words import millions
from scarlet_tf.config.from_parent import parent_in
from scarlet_tf.evaluation.batch_norm import rebase
from scarlet_tf.evaluation.evaluator import path_network
from scarlet_tf.export.folding import MAX_CONDITION, MAX_CONDITION_INT8, fold
from scarlet_tf.models.network import Arrays, Network, get_arrays, set_arrays
from scarlet_tf.parents.around import parent_path
from scarlet_tf.race.course import FOLDER
from scarlet_tf.results import Certificate, NetworkResult, RaceResult, Score
from scarlet_tf.run.folder import Run
from scarlet_tf.run.methods import PARENT, Finetuning, trained_supernet
from scarlet_tf.run.networks import find_pick
from scarlet_tf.search.front import Candidate, by_score
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.cost import Cost, count, count_spec
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.space.spec import NetworkSpec
from scarlet_tf.training.checkpoints import Checkpoints, values_digest
from scarlet_tf.training.learning import FILE as NOT_LEARNING
from scarlet_tf.training.network import finetune, retrain

logger = logging.getLogger("scarlet_tf")
LOG = "log.csv"


@dataclasses.dataclass(frozen=True)
class Start:
    """Start of retraining; `passed_over` lists candidates whose folded cost is above the budget.

    input_size: side of the images in pixels, None for the run's.
    """

    architecture: Architecture
    one_shot_accuracy: float | None
    network: Architecture | NetworkSpec
    initial: Arrays | None = None
    folding: tuple[Mapping[str, Any], ...] = ()
    passed_over: tuple[Mapping[str, Any], ...] = ()
    input_size: int | None = None


def retrain_network(run: Run, found: SearchResult, raced: RaceResult | None) -> NetworkResult | None:
    """Retrain the network that `retrain.pick` names, or go on with the race's winner; None in a worker that is not the chief."""
    start, config = choose(run, found) if raced is None else _adopted(run, found, raced), run.config.retrain
    data = run.data_at(start.input_size)
    scaling = scaling_figures(run, start.architecture)
    model, figures = retrain(
        start.network,
        data.train,
        data.validation,
        config,
        run_dir=run.folder,
        initial=start.initial,
        input_shape=run.shape_at(start.input_size),
        num_classes=run.data.num_classes,
        strategy=run.strategy,
        max_hours=run.max_hours,
        teacher=teacher_of(run, start.input_size),
    )
    about = {
        "architecture": start.architecture,
        "parent": _parent_in_words(run),
        "race": None if raced is None else raced.figures,
        "input_size": start.input_size,
        "pick": config.pick,
        "init": config.init,
        "one_shot_accuracy": start.one_shot_accuracy,
        "passed_over": start.passed_over,
        "folding": start.folding,
        **scaling,
    }
    return _result(run, model, figures, config.batch_size, about)


def finetune_network(run: Run) -> NetworkResult | None:
    """Train the network that `finetune.network` names on this run's images; None in a worker that is not the chief."""
    config, source = run.config.finetune, Finetuning().source(run)
    model, figures = finetune(
        source.network,
        run.data.train,
        run.data.validation,
        config,
        run_dir=run.folder,
        num_classes=run.data.num_classes,
        strategy=run.strategy,
        max_hours=run.max_hours,
    )
    about = {**source.lineage, "architecture": source.architecture, "init": "finetune", "origin": source.origin}
    return _result(run, model, figures, config.batch_size, about)


def _result(
    run: Run, model: Network, figures: Mapping[str, Any], batch_size: int, about: Mapping[str, Any]
) -> NetworkResult | None:
    if not read_tf_config().is_chief:
        return None
    run.network = model
    run.discard(Certificate)  # it belongs to another network if this stage is done again
    cost, figures = count_spec(model.spec), {**figures, "validation": Score(**figures["validation"])}
    return NetworkResult(
        multiply_adds=cost.multiply_adds,
        params=cost.params,
        test=run.score(model, batch_size),
        weights_sha256=values_digest(model.weights),
        **about,
        **figures,
    )


def choose(run: Run, found: SearchResult) -> Start:
    """The network that `retrain.pick` names; from the supernet, the first candidate whose folded network fits."""
    picked = find_pick(found, run.config.retrain.pick)
    if run.config.retrain.init == "scratch":
        return Start(picked.architecture, picked.accuracy, picked.architecture)
    wanted, pick = run.config.search.picks, str(run.config.retrain.pick)
    bounds = wanted.get(pick) if isinstance(wanted, dict) else None
    # A pick by name is that network, or one of the next candidates for the same pick.
    others = [] if isinstance(bounds, str) else found.pareto
    if isinstance(bounds, dict):
        objectives = run.config.search.objectives()
        others = [
            c
            for c in others
            if all(objectives.better(metric, c.metrics[metric], bound) for metric, bound in bounds.items())
        ]
    others = sorted(others, key=lambda c: by_score(c.metrics))
    return _first_that_fits(run, [picked, *(c for c in others if c.architecture != picked.architecture)])


def _first_that_fits(run: Run, candidates: Sequence[Candidate]) -> Start:
    """Folding may keep blocks wider than the stand-alone network's, so the folded network's cost is what counts."""
    passed_over: list[dict[str, Any]] = []
    for candidate in candidates:
        start, cost = _from_supernet(run, candidate.architecture)
        if start is not None:
            return dataclasses.replace(start, one_shot_accuracy=candidate.accuracy, passed_over=tuple(passed_over))
        text = candidate.architecture.to_string()
        logger.info("%s folds to %s, out of bounds; trying the next", text, cost)
        passed_over.append({"architecture": text, "folded_multiply_adds": cost.multiply_adds})
    least = min(row["folded_multiply_adds"] for row in passed_over)
    raise InputError(
        f"retrain.init: none of the {len(candidates)} networks keeps"
        f" {', '.join(run.config.search.objectives().bounds_in_words())} once folded (the"
        f" least has {least / 1e6:.2f} M multiply-adds); use init: scratch"
    )


def start_of(run: Run, architecture: Architecture, input_size: int | None = None) -> Start | None:
    """The start of a network's training as `retrain.init` says; None if the folded network is out of bounds.

    input_size: side of its images, if not the run's.
    """
    if run.config.retrain.init == "scratch":
        return Start(architecture, None, architecture, input_size=input_size)
    return _from_supernet(run, architecture, input_size)[0]


def _from_supernet(run: Run, architecture: Architecture, input_size: int | None = None) -> tuple[Start | None, Cost]:
    """The start from the path's weights, if the folded network is within the bounds, and that network's cost."""
    folded, report = _folded_path(run, architecture)
    spec = folded.spec if input_size is None else folded.spec.replace(input_shape=run.shape_at(input_size))
    cost = count_spec(spec)
    if not _keeps_bounds(run, cost):
        return None, cost
    if (batches := _calibration_batches(run)) is not None:
        rebase(folded, batches)
    rows = tuple(row.to_dict() for row in report)
    return Start(architecture, None, spec, get_arrays(folded), rows, input_size=input_size), cost


def _adopted(run: Run, found: SearchResult, raced: RaceResult) -> Start:
    """The start of the race's winner, whose newest checkpoint is copied to where its training continues."""
    row, folder = raced.row(raced.winner), run.network_file.parent
    architecture, size = Architecture.parse(row["architecture"], run.config.space), row["input_size"]
    start = start_of(run, architecture, size)
    assert start is not None  # it raced
    source = run.folder / FOLDER / raced.winner / "retrain"
    if read_tf_config().is_chief and not Checkpoints(folder).paths():
        for path in (*Checkpoints(source).paths()[-1:], *(source / name for name in (LOG, NOT_LEARNING))):
            if path.exists():
                with atomic_writer(folder / path.name) as file:
                    file.write(path.read_bytes())
    logger.info("retrain: continues %s, which won the race", row["words"])
    known = (*found.picks, *found.pareto) if size is None else ()
    accuracy = next((one.accuracy for one in known if one.architecture == architecture), None)
    return dataclasses.replace(start, one_shot_accuracy=accuracy)


def _keeps_bounds(run: Run, cost: Cost) -> bool:
    values = {name: np.array([value]) for name, value in dataclasses.asdict(cost).items()}
    return bool(run.config.search.objectives().meets(values)[0])


def _folded_path(run: Run, architecture: Architecture):
    """The path with its own BN statistics and LETs folded, and folding's report."""
    supernet, _ = trained_supernet(run)
    return fold(path_network(supernet, architecture, _calibration_batches(run)), folding_limit(run))


def _calibration_batches(run: Run):
    """The batches that a path's BN statistics are measured on; None where they are kept."""
    search = run.config.search
    if run.config.supernet.freeze_bn:
        return None
    batches = run.plain_train.batches(
        search.validation_batch_size, training=True, seed=search.seed, drop_remainder=False
    )
    return batches.take(max(1, search.recalibration_batches))


def folding_limit(run: Run) -> float:
    """Bound on folding's amplification of rounding errors: lower if a file is quantised to 8 bits."""
    return MAX_CONDITION_INT8 if {"int8", "full_int8"} & set(run.config.export.formats) else MAX_CONDITION


def teacher_of(run: Run, input_size: int | None = None) -> Network | None:
    """The parent's path in the trained supernet for `retrain.teacher: parent`, else None; with its own BN statistics.

    input_size: side of the images that it sees, if not the run's.
    """
    if run.config.retrain.teacher != PARENT:
        return None
    supernet, _ = trained_supernet(run)
    path = parent_path(parent_in(run.config.parent), supernet.space)
    teacher = path_network(supernet, path, _calibration_batches(run))
    if input_size is not None:
        other = Network(teacher.spec.replace(input_shape=run.shape_at(input_size)))
        set_arrays(other, get_arrays(teacher))
        teacher = other
    teacher.trainable = False
    return teacher


def _parent_in_words(run: Run) -> Mapping[str, Any] | None:
    """The parent for the result and the certificate, in plain JSON types; None if the run starts from none."""
    if run.config.parent.name is None:
        return None
    parent = parent_in(run.config.parent)
    return {"name": parent.name, "source": parent.source, "fingerprint": parent.fingerprint}


def scaling_figures(run: Run, architecture: Architecture) -> dict[str, Any]:
    """The network's scaling and its costs before it, as fields of NetworkResult; {} if it is not scaled.

    The search's bounds, that on multiply-adds among them, apply to the network before scaling. The scaled one
    may exceed them, and a warning says so; bounds on a table's metrics, such as latency, cannot be checked for it.
    """
    scaling, classes = run.config.retrain.scaling, run.data.num_classes
    if scaling.is_none:
        return {}
    searched = count(architecture, run.config.data.image_size, classes)
    scaled = count_spec(scaling.apply(architecture, run.input_shape, classes))
    logger.info(
        "retrain: %s: %s -> %s multiply-adds, %s -> %s params",
        scaling,
        *(millions(cost.multiply_adds) for cost in (searched, scaled)),
        *(millions(cost.params) for cost in (searched, scaled)),
    )
    if not _keeps_bounds(run, scaled):
        logger.warning(
            "retrain: the scaled network does not keep %s: the search's bounds are about the network as searched",
            ", ".join(run.config.search.objectives().bounds_in_words()),
        )
    return {
        "scaling": scaling,
        "searched_multiply_adds": searched.multiply_adds,
        "searched_params": searched.params,
    }
