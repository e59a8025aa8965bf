"""The figures of the closing table, read back from the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scarlet_tf.files import read_json
from scarlet_tf.pipeline.run import Run, dataset_figures


def summarize(run: Run) -> dict[str, Any]:
    """What a finished run found, in plain JSON types."""
    found, retrained, certificate = read_json(run.front), read_json(run.retrain_result), read_json(run.certificate)
    return {
        "name": run.config.name,
        "run_dir": str(run.folder),
        "dataset": dataset_figures(run.data) | {"skipped": len(run.data.skipped)},
        "budget_multiply_adds": run.config.search.max_multiply_adds,
        "supernet": one_shot_figures(run),
        "front": {
            "size": len(found["pareto"]),
            "picks": len(found["picks"]),
            "hypervolume": found["hypervolume"][-1] if found["hypervolume"] else None,
        },
        "pick": {
            "architecture": ",".join(map(str, retrained["architecture"]["choices"])),
            "space": retrained["architecture"]["space"],
            **{key: retrained[key] for key in ("init", "one_shot_accuracy", "multiply_adds", "params")},
        },
        "retrained": {
            "test_accuracy": retrained["test"]["accuracy"],
            "test_examples": retrained["test"]["num_examples"],
            "validation_accuracy": retrained["validation"]["accuracy"],
        },
        "files": [file_figures(row) for row in certificate["files"]],
        "seconds": read_json(timing) if (timing := run.folder / "timing.json").exists() else {},
    }


def file_figures(row: Mapping[str, Any]) -> dict[str, Any]:
    """One file of the certificate: its size in bytes, its parity with the Keras network, its accuracy."""
    checked = ("max_logit_difference", "top1", "model_top1", "num_images", "partitions")
    return {"file": row["file"], "bytes": row["bytes"], **{key: row["verification"][key] for key in checked}}


def one_shot_figures(run: Run) -> dict[str, Any]:
    """Mean and best one-shot accuracy on the validation images over every architecture that was evaluated."""
    accuracies = []
    for line in (run.folder / "search" / "trials.jsonl").read_text(encoding="utf-8").splitlines():
        metrics = json.loads(line).get("metrics")
        if metrics:
            accuracies.append(metrics["accuracy"])
    return {
        "evaluated": len(accuracies),
        "mean_accuracy": sum(accuracies) / len(accuracies),
        "best_accuracy": max(accuracies),
    }
