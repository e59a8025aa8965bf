"""Runs stages: in order or alone, timed, and passed over when done."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shlex
import time
from collections.abc import Iterator

from scarlet_tf.config import Config, check_run_dir
from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json, write_json
from scarlet_tf.pipeline.claim import alone_in
from scarlet_tf.pipeline.run import Run, open_run
from scarlet_tf.pipeline.stages import STAGES, Stage
from scarlet_tf.pipeline.summary import stage_seconds, summarize

logger = logging.getLogger("scarlet_tf")


def run_all(config: Config, folder, max_hours: float | None = None) -> dict:
    """Every stage in order; returns the figures of the closing table and writes them to summary.json.

    `max_hours`: each of the two trainings ends within this time.
    """
    with alone_in(folder):
        run = open_run(config, folder, max_hours)
        for stage in STAGES.values():
            _do(run, stage)
        summary = summarize(run)
        write_json(run.folder / "summary.json", summary)
        return summary


def run_stage(name: str, config: Config, folder, config_path="CONFIG", max_hours: float | None = None) -> dict:
    """One stage, whose predecessors must be done; returns what it wrote. `max_hours`: as in `run_all`."""
    with alone_in(folder):
        check_run_dir(folder, config)
        _check_predecessors(name, Run(config, folder), config_path)
        run = open_run(config, folder, max_hours)
        _do(run, STAGES[name])
        return read_json(STAGES[name].result(run))


def _check_predecessors(name: str, run: Run, config_path) -> None:
    """Looks at files only, so that a stage out of order is refused before the dataset is loaded."""
    for before in itertools.takewhile(lambda stage: stage.name != name, STAGES.values()):
        if not before.result(run).exists():
            raise InputError(
                f"{run.folder}: {name} needs {before.product}, which is not there yet; first run: "
                + shlex.join(["scarlet", before.name, str(config_path), "--run-dir", str(run.folder)])
            )


def _do(run: Run, stage: Stage) -> None:
    number = f"[{list(STAGES).index(stage.name) + 1}/{len(STAGES)}]"
    if _is_done(run, stage):
        logger.info("%s %s: done before", number, stage.name)
        return
    logger.info("%s %s", number, stage.name)
    with _timed(run, stage.name):
        stage.run(run)


def _is_done(run: Run, stage: Stage) -> bool:
    """Whether its mark is there and whole. Repeating a stage costs little: its checkpoints or journal are there."""
    if not stage.result(run).exists():
        return False
    try:
        read_json(stage.result(run))
    except InputError as error:
        logger.warning("%s; %s is done again", error, stage.name)
        return False
    return True


@contextlib.contextmanager
def _timed(run: Run, name: str) -> Iterator[None]:
    """Adds the seconds a stage took to timing.json, also when it was interrupted."""
    started = time.monotonic()
    try:
        yield
    finally:
        # Where the disk is full, the stage's own error is the one to show.
        with contextlib.suppress(InputError):
            seconds = stage_seconds(run)
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - started, 1)
            write_json(run.timing, seconds)
