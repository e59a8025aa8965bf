"""The figures of the closing table, read back from the run folder."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from scarlet_tf.errors import InputError
from scarlet_tf.files import read_json
from scarlet_tf.pipeline.result_keys import SCALING_KEYS
from scarlet_tf.pipeline.results import complaints
from scarlet_tf.pipeline.run import Run, dataset_figures
from scarlet_tf.search.checks import is_number
from scarlet_tf.search.journal import TRIALS, read_lines
from scarlet_tf.training.learning import FILE
from scarlet_tf.words import chance_warning


def summarize(run: Run) -> dict[str, Any]:
    """Results of a finished run, in plain JSON types."""
    retrained, certificate = read_json(run.retrain_result), read_json(run.certificate)
    return {
        "name": run.config.name,
        "run_dir": str(run.folder),
        "dataset": dataset_figures(run.data) | {"skipped": len(run.data.skipped)},
        **(_finetuned(retrained) if run.config.finetune.is_wanted else _searched(run, retrained)),
        "retrained": {
            "test_accuracy": retrained["test"]["accuracy"],
            "test_examples": retrained["test"]["num_examples"],
            "validation_accuracy": retrained["validation"]["accuracy"],
        },
        "warnings": warnings(run),
        "files": [file_figures(row) for row in certificate["files"]],
        "seconds": stage_seconds(run),
    }


def warnings(run: Run) -> list[str]:
    """Warnings that qualify all figures.

    They concern trainings that learned nothing, a network no better than chance, and files changed after the run.
    """
    found = [_text_in(run.folder / name / FILE) for name in ("supernet", "retrain")]
    with contextlib.suppress(InputError, KeyError):
        found.append(chance_warning(read_json(run.retrain_result)["test"]))
    return [text for text in (*found, *complaints(run.folder)) if text]


def _text_in(path: pathlib.Path) -> str | None:
    try:
        return read_json(path)["text"] if path.exists() else None
    except (InputError, KeyError):
        return f"{path}: cannot be read; {path.parent.name} did not learn, or broke off"


def _finetuned(result: Mapping[str, Any]) -> dict[str, Any]:
    return {"origin": result["origin"], "pick": _network(result, "init", "multiply_adds", "params")}


def _network(result: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {
        "architecture": ",".join(map(str, result["architecture"]["choices"])),
        "space": result["architecture"]["space"],
        **{key: result[key] for key in keys},
        **{key: result[key] for key in SCALING_KEYS if key in result},
    }


def _searched(run: Run, retrained: Mapping[str, Any]) -> dict[str, Any]:
    found = read_json(run.front)
    return {
        "budget_multiply_adds": run.config.search.max_multiply_adds,
        "bounds": run.config.search.objectives().bounds_in_words(),
        "supernet": one_shot_figures(run),
        "front": {
            "size": len(found["pareto"]),
            "picks": len(found["picks"]),
            "hypervolume": found["hypervolume"][-1] if found["hypervolume"] else None,
        },
        "pick": _network(retrained, "pick", "init", "one_shot_accuracy", "passed_over", "multiply_adds", "params"),
    }


def file_figures(row: Mapping[str, Any]) -> dict[str, Any]:
    """One file of the certificate: its size in bytes, its parity with the Keras network, its accuracy."""
    checked = ("max_logit_difference", "top1", "model_top1", "num_images", "partitions")
    return {"file": row["file"], "bytes": row["bytes"], **{key: row["verification"][key] for key in checked}}


def one_shot_figures(run: Run) -> dict[str, Any]:
    """Mean and best one-shot accuracy on the validation images over every architecture that was evaluated."""
    accuracies = [line["metrics"]["accuracy"] for line in journal_lines(run) if line.get("metrics")]
    if run.config.search.is_betanas:  # this algorithm keeps no journal
        accuracies = [row["accuracy"] for row in read_json(run.front)["picks"]]
    return {
        "evaluated": len(accuracies),
        "mean_accuracy": sum(accuracies) / len(accuracies) if accuracies else None,
        "best_accuracy": max(accuracies, default=None),
    }


def stage_seconds(run: Run) -> dict[str, float]:
    """Seconds by stage, as far as known: informative only, so their loss does not fail a run."""
    try:
        found = read_json(run.timing)
    except InputError:
        return {}
    return found if all(is_number(seconds) for seconds in found.values()) else {}


def journal_lines(run: Run) -> Iterator[dict]:
    """The search's journal without damaged or changed lines; the front found from it is stored elsewhere."""
    path = run.folder / "search" / TRIALS
    yield from (line for line in (read_lines(path) if path.exists() else ()) if line is not None)
