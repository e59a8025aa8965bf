"""The stages: each one's call and the file that marks it as done."""

from __future__ import annotations

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Callable

from scarlet_tf.betanas.derive import derive
from scarlet_tf.cluster import read_tf_config, search_role
from scarlet_tf.cost import count_spec
from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json, write_result
from scarlet_tf.pipeline.exporting import export
from scarlet_tf.pipeline.finetuning import finetune_network
from scarlet_tf.pipeline.latency import correct_latencies
from scarlet_tf.pipeline.optimizing import is_current, optimize
from scarlet_tf.pipeline.picking import choose
from scarlet_tf.pipeline.run import Run, plain
from scarlet_tf.pipeline.scaling import scaling_figures
from scarlet_tf.search.journal import TRIALS
from scarlet_tf.search.run import search
from scarlet_tf.training.checkpoints import values_digest
from scarlet_tf.training.network import retrain

logger = logging.getLogger("scarlet_tf")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A command's name, what it produces in words, the call, the file that it writes last.

    is_wanted: true if a run has the stage; missing: the setting that adds it; is_current: true if an existing file
    belongs to the run's configuration.
    """

    name: str
    product: str
    run: Callable[[Run], None]
    result: Callable[[Run], pathlib.Path]
    is_wanted: Callable[[Run], bool] = lambda run: True
    is_current: Callable[[Run], bool] = lambda run: True
    missing: str = "finetune.network to null, for a fine-tuned network is not searched"

    def is_done(self, run: Run) -> bool:
        """True if its mark exists, is intact and belongs to this configuration.

        Repeating a stage costs little: its checkpoints or journal exist.
        """
        if not self.result(run).exists():
            return False
        try:
            read_json(self.result(run))
        except InputError as error:
            logger.warning("%s; %s is done again", error, self.name)
            return False
        return self.is_current(run)


def _is_searched(run: Run) -> bool:
    return not run.config.finetune.is_wanted


def _train_supernet(run: Run) -> None:
    _, figures = run.supernet_and_figures
    if read_tf_config().is_chief:
        write_result(run.supernet_result, plain(figures))


def _search(run: Run) -> None:
    if run.config.search.is_betanas:
        _derive(run)
        return
    search(
        run.supernet,
        run.data.validation,
        run.config.search,
        run.folder,
        recalibration_data=run.plain_train,
        context=run.context,
        max_hours=0 if _is_used(run) else run.max_hours,
        finish=functools.partial(correct_latencies, run),
    )


def _is_used(run: Run) -> bool:
    """True if a network was retrained from the front: then the front is only rewritten from the evaluated networks."""
    return run.network_file.parent.exists() and (run.folder / "search" / TRIALS).exists()


def _derive(run: Run) -> None:
    if search_role() != "alone":
        raise InputError("KERASTUNER_ORACLE_IP: betanas has nothing to evaluate in several processes; unset it")
    supernet, figures = run.supernet_and_figures
    derive(
        supernet,
        figures["importances"],
        run.data.validation,
        run.config.search,
        run.folder,
        recalibration_data=run.plain_train,
        finish=functools.partial(correct_latencies, run),
    )


def _retrain(run: Run) -> None:
    start, config, data = choose(run), run.config.retrain, run.data
    scaling = scaling_figures(run, start.architecture)
    model, figures = retrain(
        start.network,
        data.train,
        data.validation,
        config,
        run_dir=run.folder,
        initial=start.initial,
        input_shape=run.input_shape,
        num_classes=data.num_classes,
        strategy=run.strategy,
        max_hours=run.max_hours,
    )
    if not read_tf_config().is_chief:
        return
    cost = count_spec(model.spec)
    result = {
        "architecture": start.architecture.to_dict(),
        "pick": config.pick,
        "init": config.init,
        "one_shot_accuracy": start.one_shot_accuracy,
        "passed_over": start.passed_over,
        "folding": start.folding,
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
        **scaling,
        "test": run.test_figures(model, config.batch_size),
        "weights_sha256": values_digest(model.weights),
        **figures,
    }
    run.certificate.unlink(missing_ok=True)  # it belongs to another file if this stage is done again
    write_result(run.retrain_result, plain(result))


STAGES = {
    stage.name: stage
    for stage in (
        Stage("train-supernet", "a trained supernet", _train_supernet, lambda run: run.supernet_result, _is_searched),
        Stage("search", "a searched front", _search, lambda run: run.front, _is_searched),
        Stage("retrain", "a retrained network", _retrain, lambda run: run.retrain_result, _is_searched),
        Stage(
            "finetune",
            "a fine-tuned network",
            finetune_network,
            lambda run: run.retrain_result,
            lambda run: run.config.finetune.is_wanted,
        ),
        Stage(
            "optimize",
            "an optimised network",
            optimize,
            lambda run: run.optimize_result,
            lambda run: run.config.optimization.is_wanted,
            is_current,
            "optimization.quantization_aware or optimization.pruning to true",
        ),
        Stage("export", "exported files", export, lambda run: run.certificate),
    )
}
