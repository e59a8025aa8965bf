"""One-shot accuracies of architectures, with BN recalibrated for each and with the supernet's running statistics."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.progress import progress_bar
from scarlet_tf.ranking.store import Store, name_of
from scarlet_tf.search.journal import EVALUATION, EVALUATION_KEY
from scarlet_tf.space import Architecture


def measure_one_shot(
    supernet: Supernet,
    architectures: Sequence[Architecture],
    train_data,
    validation_data,
    folder,
    recalibration_batches: int = 20,
    batch_size: int = 128,
    seed: int = 0,
    context: Mapping | str | None = None,
) -> list[dict]:
    """One {"recalibrated": accuracy, "running": accuracy} for each architecture, 0 to 1, on the validation images.

    Measurements are kept in a folder of `folder`, from which an interrupted call resumes. `context`: plain
    JSON that names the supernet and the data, to which the kept results belong; `seed`: of the order of training images.
    """
    options = {"recalibration_batches": recalibration_batches, "batch_size": batch_size, "seed": seed}
    settings = {**options, EVALUATION_KEY: EVALUATION, "space": supernet.space.fingerprint, "context": context}
    store = Store(folder, "one_shot", settings)
    found = {a: row for a in architectures if (row := store.known(name_of(a))) is not None}
    missing = [a for a in architectures if a not in found]
    if missing:
        make = functools.partial(Evaluator, supernet, validation_data, batch_size=batch_size, seed=seed)
        evaluators = {
            "recalibrated": make(recalibration_data=train_data, recalibration_batches=recalibration_batches),
            "running": make(),
        }
        with progress_bar("one-shot", len(architectures), len(architectures) - len(missing)) as bar:
            for architecture in missing:
                measure = functools.partial(_measure, evaluators, architecture)
                found[architecture] = store.get(name_of(architecture), measure)
                bar.advance()
    return [found[architecture] for architecture in architectures]


def _measure(evaluators: Mapping[str, Evaluator], architecture: Architecture) -> dict:
    return {name: evaluator.evaluate(architecture)["accuracy"] for name, evaluator in evaluators.items()}
