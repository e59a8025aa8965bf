"""Runs stages: in order or alone, timed, and passed over when done."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

from scarlet_tf.config import Config
from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json, write_json
from scarlet_tf.pipeline.run import Run, open_run
from scarlet_tf.pipeline.stages import STAGES, Stage
from scarlet_tf.pipeline.summary import summarize

logger = logging.getLogger("scarlet_tf")


def run_all(config: Config, folder) -> dict:
    """Every stage in order; returns the figures of the closing table and writes them to summary.json."""
    run = open_run(config, folder)
    for stage in STAGES.values():
        _do(run, stage)
    summary = summarize(run)
    write_json(run.folder / "summary.json", summary)
    return summary


def run_stage(name: str, config: Config, folder, config_path="CONFIG") -> dict:
    """One stage, whose predecessors must be done; returns what it wrote."""
    run = open_run(config, folder)
    for before in STAGES.values():
        if before.name == name:
            break
        if not before.result(run).exists():
            raise InputError(
                f"{folder}: {name} needs {before.product}, which is not there yet; first run:"
                f" scarlet {before.name} {config_path} --run-dir {folder}"
            )
    _do(run, STAGES[name])
    return read_json(STAGES[name].result(run))


def _do(run: Run, stage: Stage) -> None:
    number = f"[{list(STAGES).index(stage.name) + 1}/{len(STAGES)}]"
    if stage.result(run).exists():
        logger.info("%s %s: done before", number, stage.name)
        return
    logger.info("%s %s", number, stage.name)
    with _timed(run, stage.name):
        stage.run(run)


@contextlib.contextmanager
def _timed(run: Run, name: str) -> Iterator[None]:
    """Adds the seconds a stage took to timing.json, also when it was interrupted."""
    started = time.monotonic()
    try:
        yield
    finally:
        # Where the disk is full, the stage's own error is the one to show.
        with contextlib.suppress(InputError):
            path = run.folder / "timing.json"
            seconds = read_json(path) if path.exists() else {}
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - started, 1)
            write_json(path, seconds)
