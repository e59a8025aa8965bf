"""report.html: collects the results in a run folder, whichever stages are done, and writes the page."""

from __future__ import annotations

import contextlib
import csv
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json, write_text
from scarlet_tf.pipeline.checking import open_existing
from scarlet_tf.pipeline.exporting import seeds
from scarlet_tf.pipeline.picking import find_pick
from scarlet_tf.pipeline.run import Run
from scarlet_tf.pipeline.stages import STAGES
from scarlet_tf.pipeline.summary import journal_lines, stage_seconds, warnings
from scarlet_tf.report.page.record import Record, StageState

logger = logging.getLogger("scarlet_tf")


def write_report(run_dir, path=None) -> pathlib.Path:
    """Write the results in the run folder `run_dir` as one HTML file and return its path.

    path: by default `run_dir`/report.html. The same folder gives the same file, byte by byte. Raises InputError if
    `run_dir` is not a run folder, or a file in it is not what a run writes.
    """
    run = open_existing(pathlib.Path(run_dir))
    path = run.folder / "report.html" if path is None else pathlib.Path(path)
    write_text(path, _page(run))
    return path


def report_on(run: Run) -> str | None:
    """Like `write_report` at the end of a run, but log a warning and return None on failure: the run's result matters more."""
    path = run.folder / "report.html"
    try:
        write_text(path, _page(run))
    except Exception as error:
        logger.warning("%s: not written: %s: %s", path, type(error).__name__, error)
        logger.debug("the traceback:", exc_info=True)
        return None
    return str(path)


def _page(run: Run) -> str:
    from scarlet_tf.report.page.render import page  # imports Plotly, which takes a second

    try:
        return page(_record(run))
    except KeyError as error:
        raise InputError(
            f"{run.folder}: expected the files of a run as this version writes them; one lacks {error}"
        ) from error


def _record(run: Run) -> Record:
    files, config = _Files(run.folder), run.config
    front, retrained = files.read("pareto.json"), files.read("retrain/result.json")
    supernet, certificate = files.read("supernet/result.json"), files.read("export/certificate.json")
    searched, said = not config.finetune.is_wanted, warnings(run)
    return Record(
        name=config.name,
        # Commands name folders beside this one.
        folder=run.folder if run.folder.name not in ("", "..") else run.folder.resolve(),
        space=config.space,
        image_size=config.data.image_size,
        algorithm=config.search.algorithm if searched else None,
        settings=config.to_dict(),
        config_text=(run.folder / "config.yaml").read_text(encoding="utf-8"),
        stages=_stages(run),
        seeds=seeds(run),
        bounds=config.search.objectives().bounds_in_words() if searched else (),
        keeps_bounds=_keeps_bounds(run, front, certificate or retrained) if searched else None,
        wanted=_wanted(run, front) if searched else None,
        evaluated=[{"architecture": line["architecture"], **line["metrics"]} for line in _evaluated(run)],
        dataset=files.read("dataset.json"),
        supernet=supernet,
        monitor=files.read("supernet/monitor.json"),
        epochs=supernet.get("history") or _log_rows(run.folder / "supernet" / "log.csv"),
        search_state=files.read("search/state.json"),
        front=front,
        ranking=files.read("ranking/result.json"),
        comparison=files.read("compare/compare.json"),
        retrained=retrained,
        optimization=files.read("optimize/result.json"),
        certificate=certificate,
        warnings=[text for text in said if not text.startswith(tuple(files.unreadable))],
        unreadable=files.unreadable,
    )


class _Files:
    """Reader of a folder's JSON files: empty for missing ones; damaged ones are named in `unreadable`."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.unreadable: list[str] = []

    def read(self, name: str) -> Mapping[str, Any]:
        if not (self.folder / name).exists():
            return {}
        try:
            found = read_json(self.folder / name)
        except InputError as error:
            self.unreadable.append(str(error))
            return {}
        if isinstance(found, Mapping):
            return found
        self.unreadable.append(f"{self.folder / name}: expected a mapping, got {type(found).__name__}")
        return {}


def _stages(run: Run) -> list[StageState]:
    seconds = stage_seconds(run)
    return [
        StageState(stage.name, _is_whole(stage.result(run)), seconds.get(stage.name))
        for stage in STAGES.values()
        if stage.is_wanted(run)
    ]


def _is_whole(mark: pathlib.Path) -> bool:
    with contextlib.suppress(InputError):
        read_json(mark)
        return True
    return False


def _evaluated(run: Run) -> list[dict]:
    return [line for line in journal_lines(run) if line.get("metrics")]


def _wanted(run: Run, front: Mapping) -> str | None:
    """The choices of the pick that `retrain.pick` names."""
    if not front:
        return None
    with contextlib.suppress(InputError):  # no pick of that name was met: then none is marked
        return find_pick(front, run.config.retrain.pick)["architecture"]
    return None


def _keeps_bounds(run: Run, front: Mapping, figures: Mapping) -> bool | None:
    """True if the costs, and the search's figures of an unscaled network, are within the search's bounds."""
    if not figures:
        return None
    chosen = ",".join(map(str, figures["architecture"]["choices"]))
    rows = (*front["picks"], *front["pareto"]) if front else ()
    known: Mapping[str, Any] = next((row for row in rows if row["architecture"] == chosen), {})
    metrics = {name: value for name, value in known.items() if name not in ("architecture", "name")}
    metrics |= {name: figures[name] for name in ("multiply_adds", "params")}
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
