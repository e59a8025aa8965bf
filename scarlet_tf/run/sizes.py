"""The input size of a run: searched at each side of the image that is wanted, for a few generations, and then at the best one.

A smaller image pays for more layers, and left-out layers for pixels. Every size has its own costs, and, if the supernet is not
trained, its own warm start; a trained one has the same weights at every size.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import millions, percent
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.results import InputSizes, SupernetResult
from scarlet_tf.run.folder import Run
from scarlet_tf.search.config import SIZE_GENERATIONS
from scarlet_tf.search.front import Candidate
from scarlet_tf.search.objectives import cost_model_and_objectives, score_of
from scarlet_tf.search.run import search

logger = logging.getLogger("scarlet_tf")


def settle_size(
    run: Run, context: Mapping[str, Any], supernet_of: Callable[[Run], tuple[Supernet, SupernetResult]]
) -> None:
    """Let `run` have the one of `search.input_sizes` at which the best network was found; of equals the smallest.

    context: of the search's journal. supernet_of: the supernet for the images of a run. Sizes at which no network keeps the
    bounds are left out, with a line that says so. Raises InputError if that leaves none. Each size has a journal of its own in
    `search/sizes`, so what was evaluated is not lost. Where the run's time is limited, all sizes together have half of it.
    """
    known = run.find(InputSizes)
    if known is not None:
        run.use_size(known.chosen)
        return
    measured: list[dict[str, Any]] = []
    views: dict[int, Run] = {}
    for size in sorted(run.config.search.input_sizes):
        view = run.at_size(size)
        try:
            cost_model_and_objectives(view.costs, **view.config.search.objective_settings(view.costs))
        except InputError as error:
            logger.warning("search: %d pixels are left out: %s", size, error)
            continue
        best, evaluations = _search_briefly(run, view, context, supernet_of)
        logger.info(
            "search: %d pixels: %s with %s multiply-adds, the best of %d networks",
            size,
            percent(best.accuracy),
            millions(best.multiply_adds),
            evaluations,
        )
        measured.append({"input_size": size, "evaluations": evaluations, **best.to_dict()})
        views[size] = view
    if not measured:
        raise InputError(
            f"search.input_sizes: expected a size at which a network keeps the bounds, got {list(run.config.search.input_sizes)}"
        )
    chosen = max(measured, key=lambda row: (score_of(row), -row["input_size"]))["input_size"]
    logger.info("search: images of %d pixels are searched to the end", chosen)
    run.keep(InputSizes(chosen, tuple(measured)))
    run.use_size(chosen)
    run.trained = views[chosen].trained


def _search_briefly(
    run: Run, view: Run, context: Mapping[str, Any], supernet_of: Callable[[Run], tuple[Supernet, SupernetResult]]
) -> tuple[Candidate, int]:
    wanted = view.config.search
    few = min(SIZE_GENERATIONS, wanted.generations)
    found = search(
        supernet_of(view)[0],
        view.data.validation,
        dataclasses.replace(wanted, generations=few, picks=1, finalists=0, input_sizes=()),
        run.folder / "search" / "sizes" / f"{view.config.data.image_size}px",
        recalibration_data=view.plain_train,
        context=context,
        max_hours=None if run.max_hours is None else run.max_hours / 2 / len(run.config.search.input_sizes),
    )
    return found.best, found.evaluations
