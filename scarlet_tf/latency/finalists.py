"""Finalists: networks of the front that are measured whole, to correct the table that predicted latencies.

The search itself is not affected: its journal and state stay the same.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.words import bound_text
from scarlet_tf.latency.correction import LATENCY, calibrate
from scarlet_tf.latency.measuring import PASSES, Measurements, network_content
from scarlet_tf.latency.timing import Runner
from scarlet_tf.search.config import SearchConfig
from scarlet_tf.search.front import Candidate, best_of, front_of, pick_equispaced, pick_models
from scarlet_tf.search.objectives import Objectives
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.metric_table import MetricTable
from scarlet_tf.space.search_space import Architecture

logger = logging.getLogger("scarlet_tf")
ROUNDS = 3  # correction may promote networks that were not measured yet; they are measured in the next round


def measure_finalists(
    result: SearchResult,
    settings: SearchConfig,
    table: MetricTable,
    runner: Runner,
    path,
    decide: Callable[[MetricTable], SearchResult] | None = None,
) -> SearchResult:
    """`result` with latencies corrected by finalists measured whole, ranked and picked again.

    Finalists are the picks, the best and further networks along the front, at least `settings.finalists` in all.
    Measurements are kept in the JSON file `path`, from which an interrupted call resumes. `decide`: returns the
    result for a corrected table; without it the evaluated networks are ranked again.
    """
    objectives, known = settings.objectives(), _Finalists(path, table, runner)
    found = result
    report: dict = {}
    for _ in range(ROUNDS):
        if not known.measure(choose_finalists(found.pareto, found.picks, objectives, settings.finalists)):
            break
        corrected, report = calibrate(table, known.measured)
        found = decide(corrected) if decide else rerank(result, corrected, objectives, settings.picks)
    logger.info("latencies corrected by %d networks measured whole: %s", len(known.measured), _in_words(report))
    return dataclasses.replace(found, details={**result.details, "measured": _described(report, table, runner)})


def choose_finalists(
    front: Sequence[Candidate], picks: Sequence[Candidate], objectives: Objectives, count: int
) -> list[Architecture]:
    """All picks, the best, and equispaced models of the front that fill up `count`."""
    chosen = dict.fromkeys(pick.architecture for pick in picks)
    if front:
        chosen[best_of(front).architecture] = None
    spread = pick_equispaced(objectives.values([model.metrics for model in front]), count, objectives.cost_column)
    for index in spread:
        if len(chosen) < count:
            chosen[front[index].architecture] = None
    return list(chosen)


def rerank(result: SearchResult, table: MetricTable, objectives: Objectives, picks) -> SearchResult:
    """Front and picks of all evaluated networks, with latencies from `table`. InputError if none keeps the bounds."""
    latencies = table.sums(np.array([model.architecture.choices for model in result.evaluated]))[LATENCY]
    models = [
        dataclasses.replace(model, others={**model.others, LATENCY: latency})
        for model, latency in zip(result.evaluated, latencies.tolist(), strict=True)
    ]
    front = front_of([model for model in models if objectives.violation(model.metrics) <= 0], objectives)
    if not front:
        least = bound_text(LATENCY, latencies.min())
        raise InputError(
            f"search.upper_bounds: expected some model that keeps {', '.join(objectives.bounds_in_words())} with latencies"
            f" corrected by networks measured whole; the least latency of the {len(models)} is {least}; name wider bounds"
        )
    picked = pick_models(front, models, objectives, picks)
    return dataclasses.replace(result, pareto=front, picks=list(picked.values()), names=list(picked), evaluated=models)


class _Finalists:
    """Measured latencies of networks, by architecture, in milliseconds."""

    def __init__(self, path, table: MetricTable, runner: Runner):
        self.runner, self.table = runner, table
        self.measured: dict[Architecture, float] = {}
        settings = {"device": runner.device, "table": table.fingerprint}
        self._measurements = Measurements(path, settings)

    def measure(self, architectures: Sequence[Architecture]) -> bool:
        """Measure the networks; return True if any of them had not been measured."""
        new = [one for one in architectures if one not in self.measured]
        place = (self.table.input_size, self.table.num_classes, self.runner.device.get("quantization", "none"))
        files = {one.to_string(): functools.partial(network_content, one, *place) for one in new}
        self._measurements.measure(files, self.runner, PASSES, "finalists")
        self.measured |= {one: self._measurements.of(one.to_string()).milliseconds for one in new}
        return bool(new)


def _described(report: dict, table: MetricTable, runner: Runner) -> dict:
    """The correction's entry in pareto.json: errors as shares of the measured latency."""
    rows = [
        {
            "architecture": row["architecture"],
            "predicted_ms": row["sum_ms"],
            "corrected_ms": row["corrected_ms"],
            "measured_ms": row["measured_ms"],
            "error": round(row["sum_ms"] / row["measured_ms"] - 1, 5),
            "corrected_error": round(row["corrected_ms"] / row["measured_ms"] - 1, 5),
        }
        for row in report["networks"]
    ]
    errors = {"predicted": report["sum"], "corrected": report["corrected"], "left_out": report["left_out"]}
    return {"metric": LATENCY, "table": table.fingerprint, "device": runner.device, "networks": rows, **errors}


def _in_words(report: dict) -> str:
    before, after = (report[name]["median_absolute_error"] for name in ("sum", "left_out"))
    return f"median error {before:.1%} before, {after:.1%} for networks that were left out"
