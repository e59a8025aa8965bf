"""Picks: the few models of a front that go on, by number, by what they may cost, or named outright."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from scarlet_tf.errors import InputError
from scarlet_tf.search.checks import is_number
from scarlet_tf.search.front import Candidate, pick_equispaced
from scarlet_tf.search.objectives import Objectives
from scarlet_tf.space import Architecture, SearchSpace
from scarlet_tf.words import bound_text

logger = logging.getLogger("scarlet_tf")
Picks = int | Mapping[str, str | Mapping[str, float]]


def check_picks(picks: Picks) -> None:
    """InputError that names the key unless `picks` is an integer >= 1 or a mapping as `pick_models` takes it."""
    if isinstance(picks, Mapping):
        if not picks:
            raise InputError("search.picks: expected at least one name, got none")
        for name, wanted in picks.items():
            if not isinstance(name, str):
                raise InputError(f"search.picks: expected names, got {name!r}")
            if name == "best" or name.isdecimal():
                raise InputError(
                    f"search.picks.{name}: expected a name that is neither a number nor best, got {name!r}"
                )
            if isinstance(wanted, Mapping) and wanted:
                for metric, value in wanted.items():
                    if not is_number(value) or not math.isfinite(value):
                        raise InputError(f"search.picks.{name}.{metric}: expected a finite number, got {value!r}")
            elif not isinstance(wanted, str) or not wanted:
                raise InputError(
                    f"search.picks.{name}: expected bounds such as {{multiply_adds: 4M}}, or an architecture's choices,"
                    f" got {wanted!r}"
                )
    elif isinstance(picks, bool) or not isinstance(picks, int) or picks < 1:
        raise InputError(f"search.picks: expected an integer >= 1, or a mapping of names to bounds, got {picks!r}")


def check_picks_of(picks: Picks, space: SearchSpace, metrics: Sequence[str]) -> None:
    """InputError unless every named pick is of `metrics`, or an architecture of `space`."""
    for name, wanted in picks.items() if isinstance(picks, Mapping) else ():
        if isinstance(wanted, str):
            try:
                Architecture.parse(wanted, space)
            except InputError as error:
                raise InputError(f"search.picks.{name}: {error}") from None
            continue
        for metric in wanted:
            if metric not in metrics:
                raise InputError(f"search.picks.{name}.{metric}: unknown metric; expected some of {', '.join(metrics)}")


def pick_models(
    front: Sequence[Candidate], evaluated: Sequence[Candidate], goals: Objectives, picks: Picks
) -> dict[str, Candidate]:
    """{name: model}.

    An integer k picks k models equispaced along the front, named "0", "1", ... A mapping picks a model for each name:

    * {metric: bound, ...}: of the front's models below the bounds (above, for metrics that are maximised) the most
      accurate; where accuracy is bounded, the one of the least cost.
    * choices such as "0,4,2": that architecture, if it was evaluated.

    What no model meets is left out with a warning that says how near the front comes.
    """
    check_picks(picks)
    if isinstance(picks, Mapping):
        found = {name: _pick(name, wanted, front, evaluated, goals) for name, wanted in picks.items()}
        return {name: candidate for name, candidate in found.items() if candidate is not None}
    if len(front) < picks:
        logger.warning("search.picks: %d wanted, but the front has only %d models", picks, len(front))
    values = goals.values([candidate.metrics for candidate in front])
    chosen = pick_equispaced(values, picks, goals.cost_column)
    return {str(i): front[index] for i, index in enumerate(chosen)}


def _pick(name: str, wanted, front, evaluated, goals: Objectives) -> Candidate | None:
    if isinstance(wanted, str):
        choices = wanted.replace(" ", "")
        found = next((c for c in evaluated if c.architecture.to_string() == choices), None)
        if found is None:
            logger.warning("search.picks.%s: %s was not evaluated by the search", name, choices)
        return found
    unknown = [metric for metric in wanted if front and metric not in front[0].metrics]
    if unknown:
        logger.warning("search.picks.%s: nothing was measured of %s", name, ", ".join(unknown))
        return None
    meeting = [
        c for c in front if all(goals.better(metric, c.metrics[metric], bound) for metric, bound in wanted.items())
    ]
    if not meeting:
        reach = ", ".join(f"{metric} of {_nearest(front, metric, goals)}" for metric in wanted)
        logger.warning("search.picks.%s: no model of the front is within its bounds; the front reaches %s", name, reach)
        return None
    cost = goals.names[goals.cost_column]
    if "accuracy" in wanted:
        return min(meeting, key=lambda c: c.metrics[cost])
    return max(meeting, key=lambda c: (c.accuracy, -c.metrics[cost]))


def _nearest(front: Sequence[Candidate], metric: str, goals: Objectives) -> str:
    best = min if goals.direction(metric) == "min" else max
    return bound_text(metric, best(c.metrics[metric] for c in front))
