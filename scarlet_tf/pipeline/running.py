"""Execution of stages: in order or alone, timed, and skipped when done."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from scarlet_tf.cluster import VARIABLE, is_writer, read_tf_config, search_role
from scarlet_tf.comparison.variants import DEFAULT, variants
from scarlet_tf.config import Config, check_run_dir
from scarlet_tf.errors import InputError, NotFiniteError
from scarlet_tf.files import read_json, write_result
from scarlet_tf.pipeline.claim import alone_in
from scarlet_tf.pipeline.comparing import compare_searches
from scarlet_tf.pipeline.forecasting import RunForecast
from scarlet_tf.pipeline.latency import check_adb
from scarlet_tf.pipeline.ranking import check_ranking, rank_networks
from scarlet_tf.pipeline.reporting import report_on
from scarlet_tf.pipeline.results import unchecked
from scarlet_tf.pipeline.run import Run, claim, examine
from scarlet_tf.pipeline.stages import STAGES, Stage
from scarlet_tf.pipeline.summary import stage_seconds, summarize
from scarlet_tf.training.distribution import strategy_from_environment

logger = logging.getLogger("scarlet_tf")
DISTRIBUTED = ("train-supernet", "retrain")


def run_all(config: Config, folder, max_hours: float | None = None, adb: Mapping | None = None) -> dict:
    """Run every stage in order; write the figures of the closing table to summary.json and return them.

    `max_hours`: each of the two trainings and the search ends within this time. `adb`: see Run.
    """
    if len(read_tf_config().tasks) > 1:
        raise InputError(
            f"{VARIABLE}: several workers train one stage together; run {' and '.join(DISTRIBUTED)} in them, and the other"
            " stages in one process without it"
        )
    if search_role() != "alone":
        raise InputError(
            "KERASTUNER_ORACLE_IP: a chief and its workers share one stage; run search in them, and the other stages"
            " without it"
        )
    run = Run(config, folder, strategy_from_environment(), max_hours, adb)
    run.callbacks = (RunForecast(run),)
    with _claimed(run):
        check_adb(run)
        for stage in _wanted(run):
            _do(run, stage)
        _drop_torn_timing(run)
        if names := unchecked(run.folder):
            logger.warning(
                "an earlier version wrote these without a digest, changes are not noticed: %s", ", ".join(names)
            )
        summary = summarize(run) | {"report": report_on(run)}
        write_result(run.folder / "summary.json", summary)
        return summary


def run_stage(
    name: str,
    config: Config,
    folder,
    config_path="CONFIG",
    max_hours: float | None = None,
    adb: Mapping | None = None,
) -> dict:
    """Run one stage, whose predecessors must be done; return its result. `max_hours` and `adb`: as in `run_all`."""
    cluster = read_tf_config()
    if len(cluster.tasks) > 1 and name not in DISTRIBUTED:
        raise InputError(f"{VARIABLE}: {name} runs in one process; unset it")
    strategy = strategy_from_environment()  # before anything else: TensorFlow configures workers at its start
    writes = is_writer(name)
    run = Run(config, folder, strategy, max_hours, adb)
    check_run_dir(folder, config)
    if not STAGES[name].is_wanted(run):
        raise InputError(f"{name}: nothing to do; set {STAGES[name].missing}")
    _check_predecessors(name, run, config_path)
    with _claimed(run, writes):
        check_adb(run)
        _do(run, STAGES[name], go_on=True)
        if not writes:
            return {}
        if all(stage.result(run).exists() for stage in _wanted(run)):
            report_on(run)
        return read_json(STAGES[name].result(run))


def run_ranking(config: Config, folder) -> dict:
    """Train the supernet if that is not done yet, and measure how well it orders networks; return the figures."""
    if len(read_tf_config().tasks) > 1:
        raise InputError(f"{VARIABLE}: rank runs in one process; unset it")
    _check_searched("rank", config)
    run = Run(config, folder)
    with _claimed(run):
        check_ranking(run)
        _do(run, STAGES["train-supernet"])
        with _timed(run, "rank"):
            figures = rank_networks(run)
        report_on(run)
        return figures


def run_comparison(
    config: Config,
    folder,
    config_path="CONFIG",
    algorithms: Sequence[str] = DEFAULT,
    seeds: Sequence[int] = (0, 1, 2),
    evaluations: int | None = None,
) -> dict:
    """Compare searches on the run's supernet, which must be trained; return the figures. See `compare`."""
    if len(read_tf_config().tasks) > 1 or search_role() != "alone":
        raise InputError(f"{VARIABLE} and KERASTUNER_*: a comparison runs in one process; unset them")
    _check_searched("search", config)
    variants(config.search, algorithms)  # refuses unknown names before the dataset is loaded
    run = Run(config, folder)
    check_run_dir(folder, config)
    _check_predecessors("search", run, config_path)
    with _claimed(run):
        with _timed(run, "compare"):
            figures = compare_searches(run, algorithms, seeds, evaluations)
        report_on(run)
        return figures


@contextlib.contextmanager
def _claimed(run: Run, writes: bool = True) -> Iterator[None]:
    """The checked run; if the command `writes`, this process holds the folder's lock.

    A new folder is made after all checks: a mistake in the configuration or in the data leaves no folder.
    """
    is_new = not run.folder.exists()
    if is_new:
        examine(run)
    with alone_in(run.folder) if writes else contextlib.nullcontext():
        if not is_new:
            examine(run)
        claim(run)
        yield


def _check_searched(name: str, config: Config) -> None:
    if config.finetune.is_wanted:
        raise InputError(f"{name}: expected a run with a search, got one that fine-tunes {config.finetune.network}")


def _check_predecessors(name: str, run: Run, config_path) -> None:
    """Check files only, so that a stage out of order is refused before the dataset is loaded."""
    for before in itertools.takewhile(lambda stage: stage.name != name, _wanted(run)):
        command = shlex.join(["scarlet", before.name, str(config_path), "--run-dir", str(run.folder)])
        if not before.result(run).exists():
            raise InputError(
                f"{run.folder}: {name} needs {before.product}, which is not there yet; first run: {command}"
            )
        try:
            read_json(before.result(run))
        except InputError as error:
            raise InputError(f"{error}; this makes it again: {command}") from error


def _wanted(run: Run) -> list[Stage]:
    return [stage for stage in STAGES.values() if stage.is_wanted(run)]


def _do(run: Run, stage: Stage, go_on: bool = False) -> None:
    """Do a stage that is not done; with `go_on` also a search that was stopped before its end."""
    stages = _wanted(run)
    number = f"[{stages.index(stage) + 1}/{len(stages)}]"
    if stage.is_done(run):
        stopped = stage.name == "search" and read_json(run.front).get("stopped")
        if not (go_on and stopped):
            logger.info("%s %s: %s", number, stage.name, "stopped in time before" if stopped else "done before")
            return
        if run.network_file.parent.exists():
            raise InputError(
                f"{run.folder}: a network was retrained from the front as it is; continue the search in a copy of the folder"
                " without retrain/ and export/"
            )
    logger.info("%s %s", number, stage.name)
    with _timed(run, stage.name):
        try:
            stage.run(run)
        except NotFiniteError:
            if is_writer(stage.name) and (path := report_on(run)):
                logger.info("the report says it, too: %s", path)
            raise


@contextlib.contextmanager
def _timed(run: Run, name: str) -> Iterator[None]:
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


def _drop_torn_timing(run: Run) -> None:
    """Remove a damaged timing.json: no stage needs the lost seconds, and nothing would rewrite them."""
    if run.timing.exists() and not stage_seconds(run):
        logger.warning("%s: torn or changed after it was written; it is removed", run.timing)
        run.timing.unlink()


def _add_seconds(run: Run, name: str, seconds: float) -> None:
    # If the disk is full, the stage's own error is the one to show.
    with contextlib.suppress(InputError):
        known = stage_seconds(run)
        write_result(run.timing, {**known, name: round(known.get(name, 0.0) + seconds, 1)})
