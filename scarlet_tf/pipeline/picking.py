"""The network of the front that is retrained, and its initial weights."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scarlet_tf.cost import count_spec
from scarlet_tf.errors import InputError
from scarlet_tf.evaluation.batch_norm import rebase
from scarlet_tf.evaluation.evaluator import path_network
from scarlet_tf.export.folding import MAX_CONDITION, MAX_CONDITION_INT8, fold
from scarlet_tf.files import read_json
from scarlet_tf.models.network import Arrays, get_arrays
from scarlet_tf.pipeline.run import Run, plain
from scarlet_tf.search.checks import is_number
from scarlet_tf.search.front import by_accuracy
from scarlet_tf.space import Architecture
from scarlet_tf.spec import NetworkSpec

logger = logging.getLogger("scarlet_tf")


@dataclasses.dataclass(frozen=True)
class Start:
    """Start of retraining; `passed_over` lists candidates whose folded cost is above the budget."""

    architecture: Architecture
    one_shot_accuracy: float
    network: Architecture | NetworkSpec
    initial: Arrays | None = None
    folding: tuple[dict, ...] = ()
    passed_over: tuple[dict, ...] = ()


def choose(run: Run) -> Start:
    """The network that `retrain.pick` names; from the supernet, the first candidate whose folded network fits."""
    found = read_json(run.front)
    picked = find_pick(found, run.config.retrain.pick)
    if run.config.retrain.init == "scratch":
        architecture = _architecture(run, picked)
        return Start(architecture, picked["accuracy"], architecture)
    wanted = run.config.search.picks
    bounds = wanted.get(picked.get("name", "")) if isinstance(wanted, dict) else None
    # A pick by name is that network, or one of the next candidates for the same pick.
    others = [] if isinstance(bounds, str) else found["pareto"]
    if isinstance(bounds, dict):
        goals = run.config.search.objectives()
        others = [c for c in others if all(goals.better(metric, c[metric], bound) for metric, bound in bounds.items())]
    others = sorted(others, key=by_accuracy)
    return _first_that_fits(run, [picked, *(c for c in others if c["architecture"] != picked["architecture"])])


def find_pick(found: Mapping[str, Any], wanted: int | str) -> dict:
    """The network of pareto.json that `wanted` names: "best", or a pick's index or name; InputError where there is none.

    "best" is the first of the front `by_accuracy`; see `scarlet_tf.search.front.best_of`.
    """
    front, picks = (_rows(found, key) for key in ("pareto", "picks"))
    names = [str(pick.get("name")) for pick in picks]
    if wanted == "best":
        if not front:
            raise InputError(
                "retrain.pick: best is the most accurate network within the search's bounds, and none that was evaluated is"
                f" within them; expected one of the search's picks, {', '.join(names) or 'of which there are none'}"
            )
        return min(front, key=by_accuracy)
    if not picks:
        raise InputError(
            "search.picks: no network of the front meets any of them, see pareto.json; change them, and retrain.pick, in a"
            " run folder with a copy of search/, or name another budget"
        )
    if str(wanted) not in names:
        raise InputError(
            f"retrain.pick: expected best or one of the search's picks, {', '.join(names)}, got {wanted!r}"
        )
    return picks[names.index(str(wanted))]


def _rows(found: Any, key: str) -> list[dict]:
    """Networks of pareto.json; InputError unless each has the keys that picking needs."""
    rows: Any = found.get(key) if isinstance(found, Mapping) else None
    for row in rows if isinstance(rows, list) else [rows]:
        known = row if isinstance(row, dict) else {}
        numbers = (known.get("accuracy"), known.get("multiply_adds"))
        if not isinstance(known.get("architecture"), str) or not all(map(is_number, numbers)):
            raise InputError(
                f"pareto.json: {key}: expected networks with architecture, accuracy and multiply_adds, got {row!r};"
                " remove the file and run scarlet search again"
            )
    return rows


def _first_that_fits(run: Run, candidates: Sequence[dict]) -> Start:
    """Folding may keep blocks wider than the stand-alone network's, so the folded network's cost is what counts."""
    passed_over: list[dict[str, Any]] = []
    goals = run.config.search.objectives()
    for candidate in candidates:
        architecture = _architecture(run, candidate)
        folded, report = _folded_path(run, architecture)
        cost = count_spec(folded.spec)
        if goals.meets({name: np.array([value]) for name, value in dataclasses.asdict(cost).items()})[0]:
            rows = tuple(plain(row.to_dict()) for row in report)
            rebase(folded, _calibration_batches(run))
            return Start(architecture, candidate["accuracy"], folded.spec, get_arrays(folded), rows, tuple(passed_over))
        logger.info("%s folds to %s, out of bounds; trying the next", architecture.to_string(), cost)
        passed_over.append({"architecture": architecture.to_string(), "folded_multiply_adds": cost.multiply_adds})
    least = min(row["folded_multiply_adds"] for row in passed_over)
    raise InputError(
        f"retrain.init: none of the {len(candidates)} networks keeps {', '.join(goals.bounds_in_words())} once folded (the"
        f" least has {least / 1e6:.2f} M multiply-adds); use init: scratch"
    )


def _folded_path(run: Run, architecture: Architecture):
    """The path with its own BN statistics and LETs folded, and folding's report."""
    return fold(path_network(run.supernet, architecture, _calibration_batches(run)), folding_limit(run))


def _calibration_batches(run: Run):
    search = run.config.search
    batches = run.plain_train.batches(
        search.validation_batch_size, training=True, seed=search.seed, drop_remainder=False
    )
    return batches.take(max(1, search.recalibration_batches))


def _architecture(run: Run, candidate: dict) -> Architecture:
    return Architecture.parse(candidate["architecture"], run.config.space)


def folding_limit(run: Run) -> float:
    """Bound on folding's amplification of rounding errors: lower if a file is quantised to 8 bits."""
    return MAX_CONDITION_INT8 if {"int8", "full_int8"} & set(run.config.export.formats) else MAX_CONDITION
