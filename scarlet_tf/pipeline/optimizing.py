"""The optimize stage: quantisation-aware training and pruning of the retrained, folded network, if configured."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from typing import Any

from scarlet_tf.export.folding import MAX_CONDITION_INT8, fold
from scarlet_tf.files import read_json, write_json, write_result
from scarlet_tf.optimization.config import PruningConfig, QuantizationAwareConfig
from scarlet_tf.optimization.prune import prune
from scarlet_tf.optimization.quantize_aware import quantize_aware
from scarlet_tf.pipeline.exporting import file_metadata
from scarlet_tf.pipeline.run import Run, plain
from scarlet_tf.training.checkpoints import values_digest
from scarlet_tf.training.network import save_model

logger = logging.getLogger("scarlet_tf")


def optimize(run: Run) -> None:
    """Write `<run>/optimize`; result.json comes last and marks the stage as done. Earlier exports are invalidated."""
    wanted = run.config.optimization
    run.certificate.unlink(missing_ok=True)
    _begin(run)
    folded, _ = fold(run.network, MAX_CONDITION_INT8)
    data = run.plain_train
    figures: dict[str, Any] = {}
    options: dict[str, Any] = {"run_dir": run.folder, "seed": wanted.seed}
    if isinstance(wanted.quantization_aware, QuantizationAwareConfig):
        settings, about = wanted.quantization_aware, file_metadata(run)
        described = quantize_aware(folded, data, run.quantized_file, settings, **options, **about)
        figures["quantization_aware"] = {key: described[key] for key in ("bytes", "partitions", "history")}
    if isinstance(wanted.pruning, PruningConfig):
        pruned, figures["pruning"] = prune(folded, data, wanted.pruning, **options)
        save_model(pruned, run.pruned_file)
        figures["weights_sha256"] = values_digest(pruned.weights)
    write_result(run.optimize_result, plain({"settings": _settings(run), **figures}))


def is_current(run: Run) -> bool:
    """True if the finished stage was done with the run's present settings."""
    return read_json(run.optimize_result).get("settings") == _settings(run)


def _begin(run: Run) -> None:
    """Remove results of other settings, checkpoints included."""
    path = run.optimize_folder / "settings.json"
    if path.exists() and read_json(path) != _settings(run):
        logger.info("%s: begun with other settings; it is done again", run.optimize_folder)
        shutil.rmtree(run.optimize_folder)
    write_json(path, _settings(run))


def _settings(run: Run) -> dict[str, Any]:
    return plain(dataclasses.asdict(run.config.optimization))
