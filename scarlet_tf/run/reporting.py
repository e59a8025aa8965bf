"""Accounts of a run: its times, forecast and measured, the figures of its closing table, and report.html."""

from __future__ import annotations

import contextlib
import csv
import logging
import pathlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scarlet_tf.base.cluster import is_writer
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json, write_result, write_text
from scarlet_tf.config.run_time import in_words
from scarlet_tf.config.run_time import stage_seconds as forecast_seconds
from scarlet_tf.report.record import Record, StageState
from scarlet_tf.results import (
    Certificate,
    Comparison,
    Dataset,
    InputSizes,
    MonitorRecord,
    NetworkResult,
    OptimizedResult,
    RaceResult,
    Ranking,
    SupernetResult,
    to_json,
)
from scarlet_tf.run.exporting import seeds
from scarlet_tf.run.folder import Run, T, described
from scarlet_tf.run.integrity import complaints
from scarlet_tf.run.methods import method_of
from scarlet_tf.run.networks import find_pick
from scarlet_tf.search.algorithm import decode
from scarlet_tf.search.front import Archive
from scarlet_tf.search.journal import TRIALS, read_lines
from scarlet_tf.search.objectives import cost_model_and_objectives, is_number
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.cost import cost_table
from scarlet_tf.training.learning import FILE

logger = logging.getLogger("scarlet_tf")


def summarize(run: Run) -> dict[str, Any]:
    """Results of a finished run, in plain JSON types."""
    network, certificate = run.get(NetworkResult), run.get(Certificate)
    return {
        "name": run.config.name,
        "run_dir": str(run.folder),
        "dataset": to_json(described(run.data)) | {"skipped": len(run.data.skipped)},
        **method_of(run.config).account(run),
        "pick": {
            "architecture": network.architecture.to_string(),
            "space": network.architecture.space.name,
            **({} if network.pick is None else {key: to_json(getattr(network, key)) for key in _OF_A_PICK}),
            **{key: getattr(network, key) for key in ("init", "multiply_adds", "params")},
            **({} if network.input_size is None else {"input_size": network.input_size}),
            **network.scaling_figures,
        },
        **({} if network.race is None else {"race": to_json(network.race)}),
        "retrained": {
            "test_accuracy": network.test.accuracy,
            "test_examples": network.test.num_examples,
            "validation_accuracy": network.validation.accuracy,
        },
        "warnings": warnings(run),
        "files": [
            {"file": row["file"], "bytes": row["bytes"], **{key: row["verification"][key] for key in _OF_A_FILE}}
            for row in certificate.files
        ],
        "seconds": stage_seconds(run),
    }


_OF_A_PICK = ("pick", "one_shot_accuracy", "passed_over")
_OF_A_FILE = ("max_logit_difference", "top1", "model_top1", "num_images", "partitions")


def warnings(run: Run) -> list[str]:
    """Warnings that qualify all figures.

    They concern trainings that learned nothing, a network no better than chance, and files changed after the run.
    """
    found = [_text_in(run.folder / name / FILE) for name in ("supernet", "retrain")]
    with contextlib.suppress(InputError):
        network = run.find(NetworkResult)
        found.append(network.test.warning if network else None)
    return [text for text in (*found, *complaints(run.folder)) if text]


def _text_in(path: pathlib.Path) -> str | None:
    try:
        return read_json(path)["text"] if path.exists() else None
    except (InputError, KeyError):
        return f"{path}: cannot be read; {path.parent.name} did not learn, or broke off"


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds by stage, as far as known: informative only, so their loss does not fail a run."""
    try:
        found = read_json(run.timing)
    except InputError:
        return {}
    return found if all(is_number(seconds) for seconds in found.values()) else {}


@contextlib.contextmanager
def timed(run: Run, name: str) -> Iterator[None]:
    """Add the seconds of a stage to timing.json, also when it was interrupted."""
    started = time.monotonic()
    try:
        yield
    except tf.errors.OpError as error:
        # An InputError raised by reading images inside TensorFlow, which keeps only its text.
        if found := re.search(r"InputError: (.*)", str(error.message)):
            raise InputError(found[1]) from error
        raise
    finally:
        if is_writer(name):
            _add_seconds(run, name, time.monotonic() - started)


def drop_torn_timing(run: Run) -> None:
    """Remove a damaged timing.json: no stage needs the lost seconds, and nothing would rewrite them."""
    if run.timing.exists() and not stage_seconds(run):
        logger.warning("%s: torn or changed after it was written; it is removed", run.timing)
        run.timing.unlink()


def _add_seconds(run: Run, name: str, seconds: float) -> None:
    # If the disk is full, the stage's own error is the one to show.
    with contextlib.suppress(InputError):
        known = stage_seconds(run)
        write_result(run.timing, {**known, name: round(known.get(name, 0.0) + seconds, 1)})


class Forecast(keras.callbacks.Callback):
    """Log entry with the time of every stage of `run`, estimated from the steps that the training loop tries; see its Run."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run

    def on_rehearsal(self, first: float, seconds: float) -> None:
        """Log the forecast from the `seconds` of a step of the supernet; the first one took `first`."""
        data = self.run.data
        examples = {name: getattr(data, name).num_examples for name in ("train", "validation")}
        stages = forecast_seconds(self.run.config, examples, data.num_classes, first, seconds)
        logger.info(
            "run forecast: %s (the supernet's steps were tried, what follows is estimated from them; other work on this"
            " machine counts)",
            in_words(stages),
        )


def write_page(run: Run, stages: Sequence[StageState], path) -> None:
    """Write the page about the run, whose `stages` are given; the same folder gives the same file, byte by byte."""
    from scarlet_tf.report.render import page  # imports Plotly, which takes a second

    write_text(path, page(_record(run, stages)))


def _record(run: Run, stages: Sequence[StageState]) -> Record:
    known, config, method = _Known(run), run.config, method_of(run.config)
    supernet, front = known.find(SupernetResult), known.find(SearchResult)
    network, certificate = known.find(NetworkResult), known.find(Certificate)
    return Record(
        name=config.name,
        # Commands name folders beside this one.
        folder=run.folder if run.folder.name not in ("", "..") else run.folder.resolve(),
        space=config.space,
        image_size=config.data.image_size,
        view=method.view,
        settings=config.to_dict(),
        config_text=(run.folder / "config.yaml").read_text(encoding="utf-8"),
        stages=stages,
        seeds=seeds(run),
        bounds=config.search.objectives().bounds_in_words() if method.view.is_searched else (),
        keeps_bounds=_keeps_bounds(run, front, network, certificate or network) if method.view.is_searched else None,
        wanted=_wanted(run, front),
        known_by=config.known_by,
        evaluated=list(_evaluated(run)),
        epochs=supernet.history if supernet else _log_rows(run.folder / "supernet" / "log.csv"),
        hypervolume=front.hypervolume if front else _hypervolume(run, known.find(Dataset)),
        dataset=known.find(Dataset),
        supernet=supernet,
        monitor=known.find(MonitorRecord),
        front=front,
        ranking=known.find(Ranking),
        comparison=known.find(Comparison),
        sizes=known.find(InputSizes),
        race=known.find(RaceResult),
        network=network,
        optimized=known.find(OptimizedResult),
        certificate=certificate,
        warnings=[text for text in warnings(run) if not text.startswith(tuple(known.unreadable))],
        unreadable=known.unreadable,
    )


class _Known:
    """A run's results: None for missing ones; damaged ones are named in `unreadable`."""

    def __init__(self, run: Run):
        self.run = run
        self.unreadable: list[str] = []

    def find(self, kind: type[T]) -> T | None:
        try:
            return self.run.find(kind)
        except InputError as error:
            self.unreadable.append(str(error))
            return None


def _evaluated(run: Run) -> Iterator[Mapping[str, Any]]:
    """Figures of each network in the search's journal, without damaged lines; the front found from it is stored elsewhere."""
    path = run.folder / "search" / TRIALS
    for line in read_lines(path) if path.exists() else ():
        if line is not None and line.get("metrics"):
            yield {"architecture": line["architecture"], **line["metrics"]}


def _hypervolume(run: Run, dataset: Dataset | None) -> list[float]:
    """Hypervolume of the networks in the journal of a search under way, after each of its generations."""
    found, count = list(_evaluated(run)), run.config.search.population_size
    if not found or dataset is None:
        return []
    costs = cost_table(run.config.space, run.config.data.image_size, len(dataset.classes))
    archive = Archive(*cost_model_and_objectives(costs, **run.config.search.objective_settings(costs)))
    ends = range(2 * count, len(found) + 1, count)  # the first generation is twice as large
    groups = [found[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [archive.add([decode(each["architecture"]) for each in group], group) for group in groups]


def _wanted(run: Run, front: SearchResult | None) -> str | None:
    """The choices of the race's winner, else of the pick that `retrain.pick` names."""
    with contextlib.suppress(InputError):
        if (race := run.find(RaceResult)) is not None:
            return race.row(race.winner)["architecture"]
    with contextlib.suppress(InputError):  # no pick of that name was met: then none is marked
        return find_pick(front, run.config.retrain.pick).architecture.to_string() if front else None
    return None


def _keeps_bounds(run: Run, front: SearchResult | None, network: NetworkResult | None, costs: Any) -> bool | None:
    """True if the costs, and the search's figures of an unscaled network, are within the search's bounds."""
    if network is None or costs is None:
        return None
    models = (*front.picks, *front.pareto) if front else ()
    metrics = next((dict(m.metrics) for m in models if m.architecture == network.architecture), {})
    metrics |= {name: getattr(costs, name) for name in ("multiply_adds", "params")}
    return bool(run.config.search.objectives().meets({name: np.array([value]) for name, value in metrics.items()})[0])


def _log_rows(path: pathlib.Path) -> Sequence[dict[str, Any]]:
    """Epochs from `supernet.csv`, for a training that is still running."""
    if not path.exists():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(file)]
    return [{**row, "epoch": int(epoch)} for row in rows if (epoch := row.get("epoch")) is not None]


def _number(text: str | None) -> float | None:
    try:
        return float(text or "NA")
    except ValueError:  # not a number, or an incomplete line
        return None
