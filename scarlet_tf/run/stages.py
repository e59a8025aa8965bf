"""The stages of a run in order, each with the results that it takes and the one that it makes; done stages are skipped.

A stage is a function of the run and of earlier stages' results, and returns a result, which is kept in the run folder: a file
whose presence says that the stage is done. Started again, a run reads the results of its done stages.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import pathlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.assessment.comparison import DEFAULT, compare, variants
from scarlet_tf.base.cluster import SHARED, VARIABLE, is_writer, read_tf_config, search_role, wait_for
from scarlet_tf.base.errors import InputError, NotFiniteError, nearest
from scarlet_tf.base.files import write_result
from scarlet_tf.config import Config, check_run_dir
from scarlet_tf.export.saved_model import check_warm_up
from scarlet_tf.optimization.config import check_extra
from scarlet_tf.report.record import StageState
from scarlet_tf.results import (
    Certificate,
    Comparison,
    NetworkResult,
    OptimizedResult,
    RaceResult,
    Ranking,
    SupernetResult,
    from_json,
    to_json,
)
from scarlet_tf.run.exporting import export, is_optimized, optimize
from scarlet_tf.run.folder import Run, alone_in, claim, open_existing
from scarlet_tf.run.integrity import unchecked
from scarlet_tf.run.methods import check_adb, method_of, searching, trained_supernet
from scarlet_tf.run.racing import check_race, race_networks
from scarlet_tf.run.reporting import Forecast, drop_torn_timing, stage_seconds, summarize, timed, write_page
from scarlet_tf.run.retraining import finetune_network, retrain_network
from scarlet_tf.run.scoring import check_ranking, evaluator_of, ranked, train_ranked
from scarlet_tf.search.run import SearchResult
from scarlet_tf.training.devices import strategy_from_environment

logger = logging.getLogger("scarlet_tf")
DISTRIBUTED = ("train-supernet", "retrain")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage: its command, the kind of its result and what that is in words, the results that it takes, and its function.

    An input that no stage of the run makes is None. `missing`: the setting that adds the stage to a run that has it not.
    """

    name: str
    kind: type[Any]
    product: str
    takes: tuple[type[Any], ...]
    make: Callable[..., Any]
    missing: str = "finetune.network to null, for a fine-tuned network is not searched"


def _train_supernet(run: Run) -> SupernetResult | None:
    _, result = trained_supernet(run)
    return result if read_tf_config().is_chief else None


def _search(run: Run, trained: SupernetResult) -> SearchResult | None:
    return searching(run.config, "search").choose(run, trained)


RACE_MISSING = "race.finalists above 0, and retrain.pick to best or to the name of bounds"
STAGES = {
    stage.name: stage
    for stage in (
        Stage("train-supernet", SupernetResult, "a trained supernet", (), _train_supernet),
        Stage("search", SearchResult, "a searched front", (SupernetResult,), _search),
        Stage("race", RaceResult, "a race that was run", (SearchResult,), race_networks, RACE_MISSING),
        Stage("retrain", NetworkResult, "a retrained network", (SearchResult, RaceResult), retrain_network),
        Stage("finetune", NetworkResult, "a fine-tuned network", (), finetune_network, "finetune.network"),
        Stage(
            "optimize",
            OptimizedResult,
            "an optimised network",
            (NetworkResult,),
            optimize,
            "optimization.quantization_aware or optimization.pruning to true",
        ),
        Stage("export", Certificate, "exported files", (NetworkResult, SearchResult, OptimizedResult), export),
    )
}


def stages_of(config: Config) -> list[Stage]:
    """The stages that a configuration asks for, in order."""
    optimizing = ("optimize",) if config.optimization.is_wanted else ()
    names = (*method_of(config).stages, *optimizing, "export")
    return [STAGES[name] for name in names if name != "race" or config.races]


def run_all(
    config: Config, folder, max_hours: float | None = None, adb: Mapping | None = None, until: str | None = None
) -> dict:
    """Run every stage in order; write the figures of the closing table to summary.json and return them.

    `max_hours`: each of the two trainings and the search ends within this time. `adb`: see Run. `until`: the last stage to
    run, whose result is returned; InputError if the configuration does not ask for it.
    """
    stages = stages_of(config) if until is None else [*_before(until, config), _wanted(until, config)]
    if len(read_tf_config().tasks) > 1:
        raise InputError(
            f"{VARIABLE}: several workers train one stage together; run {' and '.join(DISTRIBUTED)} in them, and the other"
            " stages in one process without it"
        )
    if search_role() != "alone":
        raise InputError(
            f"KERASTUNER_ORACLE_IP: a chief and its workers share one stage; run {', '.join(SHARED)} in them, each by itself, and"
            " the other stages without it"
        )
    run = Run(config, folder, strategy_from_environment(), max_hours, adb)
    run.callbacks = (Forecast(run),)
    with _claimed(run):
        check_adb(run)
        for stage in stages:
            _do(run, stage)
        if until is not None:
            return _finish(run, stages[-1])
        drop_torn_timing(run)
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
    stage = _wanted(name, config)
    _check_predecessors(name, run, config_path)
    with _claimed(run, writes):
        check_adb(run)
        _do(run, stage, go_on=True)
        return _finish(run, stage) if writes else {}


def _wanted(name: str, config: Config) -> Stage:
    """The stage of a name; InputError if the configuration does not ask for it."""
    if name not in STAGES:
        raise InputError(f"--until {name}: expected one of the stages {', '.join(STAGES)}{nearest(name, STAGES)}")
    if STAGES[name] not in stages_of(config):
        raise InputError(f"{name}: nothing to do; set {STAGES[name].missing}")
    return STAGES[name]


def _before(name: str, config: Config) -> list[Stage]:
    return list(itertools.takewhile(lambda stage: stage.name != name, stages_of(config)))


def _finish(run: Run, stage: Stage) -> dict:
    """The result of a stage that is done, after the page if that was the last one."""
    if all(run.file(stage.kind).exists() or _is_spared(run, stage) for stage in stages_of(run.config)):
        report_on(run)
    result = run.get(stage.kind)
    return result.to_dict() if isinstance(result, SearchResult) else to_json(result)


def run_ranking(config: Config, folder) -> dict:
    """Train the supernet if that is not done yet, and measure how well it orders networks; return the figures.

    With KerasTuner's variables set, workers share out the networks' trainings; a worker returns {}.
    """
    if len(read_tf_config().tasks) > 1:
        raise InputError(f"{VARIABLE}: rank runs in one process; unset it")
    method, run = searching(config, "rank"), Run(config, folder)
    if search_role() == "worker":
        wait_for(run.folder / "config.yaml")
    with _claimed(run, is_writer("rank")):
        check_ranking(run)
        if search_role() == "worker":
            train_ranked(run, method.context(run))
            return {}
        _do(run, STAGES["train-supernet"])
        with timed(run, "rank"):
            supernet, _ = trained_supernet(run)
            figures = ranked(run, supernet, method.context(run))
        run.note(from_json(Ranking, figures, Ranking.FILE))
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
    method = searching(config, "search")
    variants(config.search, algorithms)  # refuses unknown names before the dataset is loaded
    run = Run(config, folder)
    check_run_dir(folder, config)
    _check_predecessors("search", run, config_path)
    with _claimed(run):
        with timed(run, "compare"):
            supernet, _ = trained_supernet(run)
            evaluator, searches = evaluator_of(run, supernet), (algorithms, seeds, evaluations, method.context(run))
            figures = compare(supernet, config.search, evaluator, run.folder, *searches, costs=run.costs)
        run.note(from_json(Comparison, figures, Comparison.FILE))
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


def examine(run: Run) -> None:
    """Do every check that needs no training; reads the dataset and writes nothing."""
    check_run_dir(run.folder, run.stated)
    method = method_of(run.config)
    method.examine(run)
    if run.config.races:
        check_race(run)
    if run.config.export.warm_up:
        check_warm_up("export.warm_up")
    wanted = run.config.optimization
    if wanted.is_wanted:
        check_extra()
    sections = {name: getattr(run.config, name) for name in method.trainings}
    sections |= {"optimization.quantization_aware": wanted.quantization_aware, "optimization.pruning": wanted.pruning}
    available = run.data.train.num_examples
    for section, settings in sections.items():
        if settings and settings.batch_size > available:
            raise InputError(
                f"{section}.batch_size: expected at most the {available} training images, got {settings.batch_size}"
            )


def open_run(config: Config, folder, strategy=None, max_hours: float | None = None, adb: Mapping | None = None) -> Run:
    """The run, after every check that needs no training: its folder, its dataset, its budget."""
    run = Run(config, folder, strategy, max_hours, adb)
    examine(run)
    claim(run)
    return run


def _check_predecessors(name: str, run: Run, config_path) -> None:
    """Check files only, so that a stage out of order is refused before the dataset is loaded."""
    for before in _before(name, run.config):
        optimizing = before.kind is OptimizedResult  # which has no command of its own
        words, last = (["run"], ["--until", before.name]) if optimizing else ([before.name], [])
        command = shlex.join(["scarlet", *words, str(config_path), "--run-dir", str(run.folder), *last])
        if _is_spared(run, before):
            continue
        if not run.file(before.kind).exists():
            raise InputError(
                f"{run.folder}: {name} needs {before.product}, which is not there yet; first run: {command}"
            )
        try:
            run.get(before.kind)
        except InputError as error:
            raise InputError(f"{error}; this makes it again: {command}") from error


def is_done(run: Run, stage: Stage) -> bool:
    """True if a stage's result exists, is intact and belongs to this configuration.

    Repeating a stage costs little: its checkpoints or journal exist.
    """
    try:
        result = run.find(stage.kind)
    except InputError as error:
        logger.warning("%s; %s is done again", error, stage.name)
        return False
    return (result is not None or _is_spared(run, stage)) and (
        not isinstance(result, OptimizedResult) or is_optimized(run, result)
    )


def _do(run: Run, stage: Stage, go_on: bool = False) -> None:
    """Do a stage that is not done; with `go_on` also a search or a race that was stopped before its end."""
    stages = stages_of(run.config)
    number = f"[{stages.index(stage) + 1}/{len(stages)}]"
    if is_done(run, stage):
        stopped = (
            stage.kind in (SearchResult, RaceResult) and not _is_spared(run, stage) and run.get(stage.kind).stopped
        )
        if not (go_on and stopped):
            logger.info("%s %s: %s", number, stage.name, "stopped in time before" if stopped else "done before")
            return
        if run.network_file.parent.exists() or (stage.kind is SearchResult and run.has_raced):
            raise InputError(
                f"{run.folder}: a network was trained from what {stage.name} found; continue the {stage.name} in a copy of the"
                f" folder without {'race/, ' if stage.kind is SearchResult else ''}retrain/ and export/"
            )
    logger.info("%s %s", number, stage.name)
    made = {other.kind for other in stages if not _is_spared(run, other)}
    with timed(run, stage.name):
        try:
            result = stage.make(run, *(run.get(kind) if kind in made else None for kind in stage.takes))
        except NotFiniteError:
            if is_writer(stage.name) and (path := report_on(run)):
                logger.info("the report says it, too: %s", path)
            raise
        if result is not None:  # of several workers, one has it
            run.keep(result)


def write_report(run_dir, path=None) -> pathlib.Path:
    """Write the results in the run folder `run_dir` as one HTML file and return its path.

    path: by default `run_dir`/report.html. The same folder gives the same file, byte by byte. The page names
    files that are damaged or not what a run writes. Raises InputError if `run_dir` is not a run folder.
    """
    run = open_existing(run_dir)
    path = run.folder / "report.html" if path is None else pathlib.Path(path)
    write_page(run, _states(run), path)
    return path


def report_on(run: Run) -> str | None:
    """Like `write_report` at the end of a run, but log a warning and return None on failure: the run's result matters more."""
    path = run.folder / "report.html"
    try:
        write_page(run, _states(run), path)
    except Exception as error:
        logger.warning("%s: not written: %s: %s", path, type(error).__name__, error)
        logger.debug("the traceback:", exc_info=True)
        return None
    return str(path)


def _states(run: Run) -> list[StageState]:
    seconds = stage_seconds(run)
    return [StageState(stage.name, _is_whole(run, stage), seconds.get(stage.name)) for stage in stages_of(run.config)]


def _is_whole(run: Run, stage: Stage) -> bool:
    with contextlib.suppress(InputError):
        return run.find(stage.kind) is not None or _is_spared(run, stage)
    return False


def _is_spared(run: Run, stage: Stage) -> bool:
    """True for the race of a run whose network was trained by an earlier version, without one."""
    return stage.kind is RaceResult and run.file(NetworkResult).exists() and not run.has_raced
